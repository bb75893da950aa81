package journal

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// Chained is an event as it stands in the journal.
//
// Every event has a link: the SHA-256 of the link before it in the same chain and of all that the event says. Each policy
// has a chain; an event of no policy, or of one that the journal does not have, is in the chain of the installation. The
// last link of a chain stands apart: in the policy's row, or in [MetaChain].
type Chained struct {
	Event
	Text   string // Data as it is kept
	Before string // the link before, of an event that explains a key; "" otherwise
	KeyRef string // the key that it explains; "" otherwise
}

// Holds reports whether the event, alone, fits its link. Only an event that explains a key can be asked.
func (c *Chained) Holds() bool {
	return c.KeyRef != "" && c.KeyRef == c.Explains() && c.Link == c.LinkAfter(c.Before, c.Policy != "")
}

// LinkAfter is the link of the event after another one in the chain of its policy (own), or of the installation.
func (c *Chained) LinkAfter(before string, own bool) string {
	var room [512]byte
	b := room[:0]
	put := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	if own {
		b = append(b, 'p')
	} else {
		b = append(b, 'i')
	}
	put(before)
	if c.At.IsZero() {
		b = append(b, 0)
	} else {
		b = binary.BigEndian.AppendUint64(append(b, 1), uint64(c.At.UnixMicro()))
	}
	put(c.Policy)
	put(c.Rotation)
	put(string(c.Kind))
	put(c.Text)
	sum := sha256.Sum256(b)
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// Explains is the ref of the key that the event explains: it tells how the key became ours. "" for every other event.
func (e *Event) Explains() string {
	switch e.Kind {
	case KeyCreated, KeyFound, KeyAdopted, KeyMoved, AttemptReopened:
		return e.Data["ref"]
	}
	return ""
}

// Speaks reports whether the event explains this very key: what it says of it is what the key's row says. A key whose value
// no one had seen by then may have been seen since.
func (e *Event) Speaks(k *Key) bool {
	of := func(name, is string) bool { return e.Data[name] == is }
	return e.Explains() == k.Ref && k.Ref != "" && k.ID != "" && of("key_id", k.ID) && of("name", k.Name) && of("team", k.Team) &&
		(of("fingerprint", "") || of("fingerprint", k.Fingerprint))
}

// ExplainedBy reports whether one of these events, as it stands, tells how the key became its policy's.
func (k *Key) ExplainedBy(told []Chained) bool {
	for i := range told {
		if c := &told[i]; c.Policy == k.Policy && c.Speaks(k) && c.Holds() {
			return true
		}
	}
	return false
}

// Explanation is what an event that explains a key says of it, as pairs of name and value.
func (k *Key) Explanation() []string {
	return []string{"ref", k.Ref, "key_id", k.ID, "name", k.Name, "team", k.Team, "fingerprint", k.Fingerprint}
}

// MetaChain is the last link of the installation's chain.
const MetaChain = "audit/chain"

// MetaCheckpoint is how far the last checkpoint reached, see [Progress].
const MetaCheckpoint = "audit/checkpoint"

// Progress is how far checkpoints reached.
type Progress struct {
	Number int64  // of the last checkpoint; 0: there is none
	Upto   int64  // the id of the last event that it covers
	Root   string // of the ids and links of all events up to it, in order
	Digest string // of the last checkpoint's text
}

// Add is the root after one more event.
func (p *Progress) Add(id int64, link string) {
	var room [128]byte
	b := binary.BigEndian.AppendUint64(append(room[:0], p.Root...), uint64(id)) //nolint:gosec // ids are positive
	sum := sha256.Sum256(append(b, link...))
	p.Root, p.Upto = base64.RawStdEncoding.EncodeToString(sum[:]), id
}

// Head is the last link of a chain as it stands apart from the events. Policy "": the installation's.
type Head struct{ Policy, Link string }

// Trail is what an audit is told, in the order in which it is told.
type Trail interface {
	// Noted is told of each checkpoint's text first, oldest first.
	Noted(id int64, text string)
	// Event is told of each event, by id.
	Event(c *Chained)
	// Head is told of the last link of each chain that has one.
	Head(h Head)
	// Key is told of each key that ever had an id.
	Key(k *Key)
}

// Checkpoint is what a checkpoint is made of.
type Checkpoint struct {
	Installation string
	At           time.Time
	Before, Now  Progress // up to the last one, and up to this one
}

// Seal makes a checkpoint's note, signed where there is a key, and the digest of its text.
type Seal func(c Checkpoint) (note, digest string, err error)

// Auditor reads the trail of events, and covers it with checkpoints.
type Auditor interface {
	// Explanations returns the events that tell how a key became ours, the newest first. Whoever relies on one asks whether it
	// holds.
	Explanations(ctx context.Context, ref string) ([]Chained, error)
	// ReadTrail tells of all events, heads and keys as they are at one moment.
	ReadTrail(ctx context.Context, to Trail) error
	// Checkpoint records a note that covers all events up to now, if there are any that no checkpoint covers.
	Checkpoint(ctx context.Context, now time.Time, seal Seal) (made bool, err error)
}

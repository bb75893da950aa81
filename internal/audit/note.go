// Package audit checks the trail of events, covers it with checkpoints, and carries it out of the journal.
//
// Each event has a link in the chain of its policy (see journal.Chained), written in the commit that writes the event. A checkpoint is
// an event too: its note names the last event that it covers and a root, a hash over the ids and links of all events up to that one. It
// is signed with a key that is not in the journal, where the configuration has one. So who edits the journal has to make every later link
// again, and then fits no signed checkpoint that was made since.
package audit

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rotator/rotation/journal"
)

// Key signs checkpoints. The zero value signs nothing.
type Key struct {
	signer note.Signer
	public string
}

// signerName names the key in notes.
const signerName = "rotator-audit"

// leastSeal is the length that a seal key has at least, in bytes.
const leastSeal = 16

// NewKey derives the key that signs from a secret of at least 16 bytes.
func NewKey(secret []byte) (Key, error) {
	if len(secret) < leastSeal {
		return Key{}, fmt.Errorf("the seal key has %d bytes: want %d or more, such as from `openssl rand -hex 32`", len(secret), leastSeal)
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, "rotator audit seal 1", ed25519.SeedSize)
	if err != nil {
		return Key{}, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return Key{}, errors.New("no ed25519 key")
	}
	k := Key{}
	if k.public, err = note.NewEd25519VerifierKey(signerName, public); err != nil {
		return Key{}, err
	}
	// As package note writes a private key: its algorithm, which is 1, and the seed.
	hash := strings.Split(k.public, "+")[1]
	k.signer, err = note.NewSigner("PRIVATE+KEY+" + signerName + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)))
	return k, err
}

// Public is the key that verifies, as package note writes it; "" of the zero value. It is no secret.
func (k Key) Public() string { return k.public }

// header is the first line of a checkpoint's text.
const header = "rotator audit checkpoint v1"

// Seal makes a checkpoint's note: its text, and a signature where there is a key.
func (k Key) Seal(c journal.Checkpoint) (text, digest string, err error) {
	p := parsed{installation: c.Installation, at: c.At.UTC(), before: c.Before.Digest, Progress: c.Now}
	text = p.text()
	digest = digestOf(text)
	if k.signer == nil {
		return text, digest, nil
	}
	signed, err := note.Sign(&note.Note{Text: text}, k.signer)
	return string(signed), digest, err
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

// parsed is what a checkpoint's text says.
type parsed struct {
	installation string
	at           time.Time
	before       string // the digest of the checkpoint before
	journal.Progress
}

func (p parsed) text() string {
	return fmt.Sprintf("%s\ninstallation %q\nat %s\nnumber %d\nupto %d\nroot %s\nbefore %s\n",
		header, p.installation, p.at.Format(time.RFC3339Nano), p.Number, p.Upto, p.Root, p.before)
}

var errNote = errors.New("it is no checkpoint's note")

// parse reads a note. signed is false of one without a signature.
func parse(text string) (p parsed, signed bool, err error) {
	text, _, signed = strings.Cut(text, "\n\n")
	if signed {
		text += "\n"
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 7 || lines[0] != header {
		return p, signed, errNote
	}
	var errs [4]error
	value := func(i int, name string) string { return strings.TrimPrefix(lines[i], name+" ") }
	p.installation, errs[0] = strconv.Unquote(value(1, "installation"))
	p.at, errs[1] = time.Parse(time.RFC3339Nano, value(2, "at"))
	p.Number, errs[2] = strconv.ParseInt(value(3, "number"), 10, 64)
	p.Upto, errs[3] = strconv.ParseInt(value(4, "upto"), 10, 64)
	p.Root, p.before = value(5, "root"), value(6, "before")
	if errors.Join(errs[:]...) != nil || p.text() != text {
		return p, signed, errNote
	}
	p.Digest = digestOf(text)
	return p, signed, nil
}

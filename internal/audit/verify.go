package audit

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rotator/rotation/journal"
)

// Finding is one thing that is not as the rotator wrote it.
type Finding struct {
	Event  int64  `json:"event,omitempty"`  // its id
	Policy string `json:"policy,omitempty"` // whose chain; absent: the installation's
	Key    string `json:"key,omitempty"`    // the id of a key
	What   string `json:"what"`
}

// String is the finding in one line.
func (f Finding) String() string {
	text := f.What
	if f.Key != "" {
		text = "key " + f.Key + ": " + text
	}
	if f.Policy != "" {
		text = "policy " + f.Policy + ": " + text
	}
	if f.Event > 0 {
		text = fmt.Sprintf("event %d: %s", f.Event, text)
	}
	return text
}

// Report is what an audit found.
type Report struct {
	OK          bool       `json:"ok"`
	Events      int        `json:"events"`
	Chains      int        `json:"chains"`
	Keys        int        `json:"keys"`
	Checkpoints int        `json:"checkpoints"`
	Signed      int        `json:"signed"`     // checkpoints with a signature that was verified
	Covered     int64      `json:"covered"`    // the id of the last event that a checkpoint covers
	CoveredAt   *time.Time `json:"covered_at"` // when that checkpoint was made
	Findings    []Finding  `json:"findings"`
	More        int        `json:"more,omitempty"` // findings beyond those listed
}

// mostFindings is how many are listed.
const mostFindings = 1000

// Options are how the trail is verified.
type Options struct {
	// Keys verify the checkpoints' signatures, as [Key.Public] writes them. Without one signatures are not looked at.
	Keys []string
}

// Source is what is verified.
type Source interface {
	ReadTrail(ctx context.Context, to journal.Trail) error
}

// Verify reads the whole trail and says what is not as it was written. An error means that it could not be read.
func Verify(ctx context.Context, s Source, o Options) (Report, error) {
	v := &verifier{
		heads: make(map[string]string), wants: make(map[int64]bool), roots: make(map[int64]string),
		told: make(map[string][]journal.Event), renamed: make(map[string]string),
	}
	for _, k := range o.Keys {
		by, err := note.NewVerifier(k)
		if err != nil {
			return Report{}, fmt.Errorf("public key %q: %w", k, err)
		}
		v.by = append(v.by, by)
	}
	if err := s.ReadTrail(ctx, v); err != nil {
		return Report{}, err
	}
	return v.end(), nil
}

// verifier is the journal.Trail of Verify.
type verifier struct {
	report  Report
	by      []note.Verifier
	heads   map[string]string // policy → the last link; "": the installation's
	wants   map[int64]bool    // ids at which checkpoints want a root
	roots   map[int64]string  // id → the root there
	so      journal.Progress  // over all events so far
	last    parsed            // checkpoint
	signed  bool              // a checkpoint was signed
	told    map[string][]journal.Event
	renamed map[string]string // a policy's name → the one it got
	seen    int               // heads
}

var _ journal.Trail = (*verifier)(nil)

func (v *verifier) find(f Finding) {
	if len(v.report.Findings) == mostFindings {
		v.report.More++
		return
	}
	v.report.Findings = append(v.report.Findings, f)
}

// Noted implements journal.Trail.
func (v *verifier) Noted(_ int64, text string) {
	if p, _, err := parse(text); err == nil {
		v.wants[p.Upto] = true
	}
}

// Event implements journal.Trail.
func (v *verifier) Event(c *journal.Chained) {
	v.report.Events++
	if from := c.Data["from"]; c.Kind == journal.PolicyRenamed && from != "" {
		if head, known := v.heads[from]; known {
			v.heads[c.Policy] = head
			delete(v.heads, from)
		}
		v.renamed[from] = c.Policy
	}
	v.follow(c)
	v.so.Add(c.ID, c.Link)
	if v.wants[c.ID] {
		v.roots[c.ID] = v.so.Root
	}
	switch c.Kind {
	case journal.Checkpointed:
		v.checkpoint(c)
	case journal.Forgotten:
		if c.Data["target"] == "" {
			delete(v.heads, c.Policy) // a policy of that name begins again
		}
	}
	if ref := c.Explains(); ref != "" {
		e := c.Event
		v.told[ref] = append(v.told[ref], e)
	}
}

// follow checks that an event follows the last one of its chain.
func (v *verifier) follow(c *journal.Chained) {
	of, before := c.Policy, v.heads[c.Policy]
	ok := of != "" && c.Link == c.LinkAfter(before, true)
	if !ok { // of no policy, or of one that the journal did not have
		if of, before = "", v.heads[""]; c.Link == c.LinkAfter(before, false) {
			ok = true
		} else {
			of, before = c.Policy, v.heads[c.Policy]
		}
	}
	if !ok {
		v.find(Finding{Event: c.ID, Policy: c.Policy, What: "it does not fit its link: it was changed, moved or put in, or one before it in this chain was changed or removed"})
	} else if want := map[bool]string{true: before}[c.Explains() != ""]; c.Before != want || c.KeyRef != c.Explains() {
		v.find(Finding{Event: c.ID, Policy: c.Policy, What: "what the gate reads of it was changed"})
	}
	v.heads[of] = c.Link
}

func (v *verifier) checkpoint(c *journal.Chained) {
	v.report.Checkpoints++
	bad := func(format string, args ...any) {
		v.find(Finding{Event: c.ID, What: "checkpoint: " + fmt.Sprintf(format, args...)})
	}
	text := c.Data["note"]
	p, signed, err := parse(text)
	if err != nil {
		bad("%v", err)
		return
	}
	switch root, known := v.roots[p.Upto]; {
	case p.Number != v.last.Number+1:
		bad("its number is %d, and the one before has %d", p.Number, v.last.Number)
	case p.before != v.last.Digest:
		bad("it does not follow the one before")
	case !known || root != p.Root:
		bad("the events up to %d are not those that it covers: one was changed, removed or put in", p.Upto)
	}
	v.last = p
	switch {
	case signed && len(v.by) > 0:
		if _, err := note.Open([]byte(text), note.VerifierList(v.by...)); err != nil {
			bad("its signature is not of the key that was given")
			return
		}
		v.signed = true
		v.report.Signed++
	case v.signed:
		bad("it is not signed, and an earlier one is")
	}
	v.report.Covered, v.report.CoveredAt = p.Upto, &p.at
}

// Head implements journal.Trail.
func (v *verifier) Head(h journal.Head) {
	if h.Link != "" {
		v.seen++
	}
	if v.heads[h.Policy] != h.Link {
		v.find(Finding{Policy: h.Policy, What: "the chain does not end with the last link that its policy has: its last events were changed or removed"})
	}
	delete(v.heads, h.Policy)
}

// Key implements journal.Trail.
func (v *verifier) Key(k *journal.Key) {
	v.report.Keys++
	told, ok := v.told[k.Ref], false
	for i := range told {
		of := told[i].Policy
		for range len(v.renamed) + 1 {
			ok = ok || of == k.Policy && told[i].Speaks(k)
			next, moved := v.renamed[of]
			if !moved {
				break
			}
			of = next
		}
	}
	if !ok && k.State != journal.ForgottenKey {
		v.find(Finding{Policy: k.Policy, Key: k.ID, What: "no event tells how it became ours, as its row has it: the row was put in or changed; the gate does not let it be disabled or deleted"})
	}
	delete(v.told, k.Ref)
}

// end finds what is missing.
func (v *verifier) end() Report {
	for policy, head := range v.heads {
		if head != "" {
			v.find(Finding{Policy: policy, What: "the chain's last link, which stands apart, is missing"})
		}
	}
	for _, told := range v.told {
		e := told[len(told)-1]
		v.find(Finding{Event: e.ID, Policy: e.Policy, Key: e.Data["key_id"], What: "the key's row is missing"})
	}
	if len(v.by) > 0 && v.report.Events > 0 && !v.signed {
		v.find(Finding{What: "there is no checkpoint with a signature of the key that was given: nothing proves what is older"})
	}
	v.report.Chains = v.seen
	v.report.OK = len(v.report.Findings) == 0
	if v.report.Findings == nil {
		v.report.Findings = []Finding{}
	}
	return v.report
}

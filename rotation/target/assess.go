package target

import (
	"fmt"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// Facts are what Assess needs to know besides what was read in the target.
type Facts struct {
	Policy string
	// Ours are the policy's keys that are not gone, and Live and Promoting those that the target is meant to hold.
	Ours            []journal.Key
	Live, Promoting *journal.Key
	// Effects are those that may explain a value: own writes that land late.
	Effects []journal.Effect
	// Owner is the other policy that the key in the target belongs to, or "".
	Owner string
	// Stranger is set when the key in the target has a rotator's name that this journal does not know.
	Stranger bool
	// SamePlace names another policy's target that is the same place, or "".
	SamePlace string
}

// Verdict is what a target's content means.
type Verdict struct {
	Status     journal.TargetStatus
	Holds      []string // the ids of the keys that it may hold
	MayReplace bool     // a promote may replace what is there
	Reason     journal.Reason
	Do         string // what a human can do about it, or ""
}

// Err is the verdict as an error; nil when nothing speaks against a promote.
func (v Verdict) Err(t journal.Target) error {
	if v.MayReplace {
		return nil
	}
	what := map[journal.TargetStatus]string{
		journal.TargetNew:          "was not read yet",
		journal.TargetForeign:      "holds something that is not an API key",
		journal.TargetMissing:      "is empty, and held a value before",
		journal.TargetDrift:        "holds a value that is neither ours nor the baseline",
		journal.TargetOtherPolicy:  "holds a key of another policy",
		journal.TargetOtherRotator: "holds a key that another Rotator made",
		journal.TargetSamePlace:    "is one place with a target of another policy",
		journal.TargetUnreadable:   "could not be read",
	}[v.Status]
	if what == "" {
		what = "is left to people"
	}
	if v.Do == "" {
		return reason.Errorf(v.Reason, "%s %s", t.TargetID, what)
	}
	return reason.Errorf(v.Reason, "%s %s; %s", t.TargetID, what, v.Do)
}

// Excluded reports whether a human took the target out of the rotator's hands. It is read anyway.
func Excluded(t journal.Target) bool { return t.Excluded() }

// Assess judges what a target was last seen to hold. It is the one place where this is decided: the engine, plan, check,
// status and the page all ask it. It changes nothing.
func Assess(t journal.Target, s []journal.Sighting, f Facts) Verdict {
	v := Verdict{Holds: holds(t, s)}
	v.Status, v.Reason = status(t, f)
	decided := (t.Decision == journal.Overwrite || t.Decision == journal.Leave) && t.DecidedFor == t.Fingerprint
	if decided && v.Status != journal.TargetSamePlace && v.Status != journal.TargetUnreadable {
		v.Status, v.Reason = journal.TargetOK, ""
		if t.Fingerprint == "" {
			v.Status = journal.TargetEmpty
		}
	}
	switch {
	case Excluded(t):
		return v
	case v.Status == journal.TargetOK || v.Status == journal.TargetEmpty:
		v.MayReplace = true
		return v
	}
	v.Do = do(f.Policy, t, v.Status)
	return v
}

func do(policy string, t journal.Target, s journal.TargetStatus) string {
	say := fmt.Sprintf("`rotator resolve %s --target %s --overwrite|--leave|--drop`", policy, t.TargetID)
	switch s {
	case journal.TargetNew, journal.TargetUnreadable, journal.TargetSamePlace:
		return ""
	case journal.TargetMissing:
		return "restore it, or " + say
	}
	return "say " + say
}

// status judges what is in the target, without the decisions of people.
func status(t journal.Target, f Facts) (journal.TargetStatus, journal.Reason) {
	switch {
	case t.Status == journal.TargetUnreadable:
		return t.Status, reason.UnreadTarget
	case t.SeenAt.IsZero():
		return journal.TargetNew, reason.UnreadTarget
	case f.SamePlace != "":
		return journal.TargetSamePlace, reason.SamePlace
	case t.ContactAt.IsZero():
		return first(t, f)
	case wanted(t, f), t.Fingerprint == t.Replaceable && t.Status != journal.TargetForeign, lateWrite(t, f):
		return okOrEmpty(t), ""
	case t.Status == journal.TargetForeign:
		return journal.TargetForeign, reason.ForeignValue
	case t.Fingerprint == "":
		return journal.TargetMissing, reason.TargetMissing
	case f.Owner != "":
		return journal.TargetOtherPolicy, reason.OtherPolicy
	case f.Stranger:
		return journal.TargetOtherRotator, reason.OtherRotator
	}
	return journal.TargetDrift, reason.DriftFound
}

// first judges a target that was never met: what a promote may replace is what is there, if it is a key or nothing.
func first(t journal.Target, f Facts) (journal.TargetStatus, journal.Reason) {
	switch {
	case t.Fingerprint == "", ours(t, f) != nil:
		return okOrEmpty(t), ""
	case f.Owner != "":
		return journal.TargetOtherPolicy, reason.OtherPolicy
	case f.Stranger:
		return journal.TargetOtherRotator, reason.OtherRotator
	case t.KeyID == "" && t.Status == journal.TargetForeign:
		return journal.TargetForeign, reason.ForeignValue
	}
	return okOrEmpty(t), ""
}

func okOrEmpty(t journal.Target) journal.TargetStatus {
	if t.Fingerprint == "" {
		return journal.TargetEmpty
	}
	return journal.TargetOK
}

// wanted reports whether the target holds the live key, or the one that is being promoted.
func wanted(t journal.Target, f Facts) bool {
	for _, k := range []*journal.Key{f.Live, f.Promoting} {
		if k != nil && is(t, *k) {
			return true
		}
	}
	return false
}

// lateWrite reports whether the target holds a key that a write of ours explains whose answer was lost.
func lateWrite(t journal.Target, f Facts) bool {
	k := ours(t, f)
	if k == nil {
		return false
	}
	for _, e := range f.Effects {
		if e.Kind == journal.EffectPromote && e.Target == t.TargetID && e.Key == k.Ref && e.State != journal.EffectRefused && e.State != journal.EffectWithdrawn {
			return true
		}
	}
	return false
}

func ours(t journal.Target, f Facts) *journal.Key {
	for i := range f.Ours {
		if is(t, f.Ours[i]) {
			return &f.Ours[i]
		}
	}
	return nil
}

func is(t journal.Target, k journal.Key) bool {
	return k.Fingerprint != "" && t.Fingerprint == k.Fingerprint || k.ID != "" && t.KeyID == k.ID
}

func holds(t journal.Target, s []journal.Sighting) []string {
	var ids []string
	for _, one := range s {
		if one.TargetID == t.TargetID && one.KeyID != "" {
			ids = append(ids, one.KeyID)
		}
	}
	return ids
}

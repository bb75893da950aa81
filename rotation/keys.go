package rotation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"rotator/policies"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// keyName takes the name of a key apart that a rotator made: rotator-<policy>-<ref>. It is not ok for a name that no
// rotator gives.
func keyName(name string) (policy, ref string, ok bool) {
	rest, ok := strings.CutPrefix(name, inventory.Prefix)
	const length = 36 // of a UUID as text
	if cut := len(rest) - length; ok && cut > 1 && rest[cut-1] == '-' {
		policy, ref = rest[:cut-1], rest[cut:]
	}
	id, err := uuid.Parse(ref)
	return policy, ref, err == nil && id.Version() == 7 && id.String() == ref
}

// newRef makes the ref of a key.
func newRef() string { return uuid.Must(uuid.NewV7()).String() }

// move takes a key to another state of the table.
func (r *run) move(k *journal.Key, s journal.KeyState) {
	if !k.State.May(s) {
		panic(fmt.Sprintf("key %s may not go from %s to %s", k.Ref, k.State, s)) // a defect: recovered by the scheduler
	}
	if k.State == s {
		return
	}
	r.log.Info("key "+string(s), "key_id", k.ID, "ref", k.Ref, "from", k.State)
	k.State = s
	k.TryAt, k.Tries, k.Reason, k.Error = noTime, 0, "", ""
}

// exposeKey notes that consumers may read a key from now on.
func exposeKey(r *run, k *journal.Key) {
	if k.ExposedAt.IsZero() {
		k.ExposedAt = r.now()
	}
	r.move(k, journal.PromotingKey)
}

// retireKey makes a key one that is to be retired, now that another key serves consumers. It counts from the later of
// xAI's clock and ours.
func retireKey(r *run, k *journal.Key, by *journal.Key, rotation string) {
	if k.ExposedAt.IsZero() {
		k.ExposedAt = r.now()
	}
	r.move(k, journal.RetiringKey)
	k.RetireFrom, k.IdleFrom, k.RetireRotation = r.clock().Later(), noTime, rotation
	if by != nil {
		k.ReplacedBy = by.Ref
	}
}

// rejectKey gives a key up that no consumer ever read: it is deleted at once.
func rejectKey(r *run, k *journal.Key, why string) {
	r.engine.hand.drop(k.Ref)
	if k.State == journal.CreatingKey && k.ID == "" {
		return // settle finds out whether there is such a key
	}
	if k.State != journal.RejectedKey {
		r.tell(journal.KeyLost, "key_id", k.ID, "error", why)
		r.move(k, journal.RejectedKey)
	}
}

// compromiseKey records that a key is known to others. Everything else follows from it.
func compromiseKey(r *run, k *journal.Key, why, by string) {
	if !k.Compromised() {
		k.CompromisedAt, k.CompromisedWhy, k.CompromisedBy = r.now(), why, by
		r.tell(journal.KeyCompromised, "key_id", k.ID, "why", why, "by", by)
	}
	switch k.State {
	case journal.CandidateKey, journal.StandbyKey:
		rejectKey(r, k, "the key was reported compromised")
	case journal.RetiringKey, journal.DisabledKey:
		k.TryAt = noTime
	}
}

// specOf is the policy that a key was made under; nil when that is not known.
func specOf(k *journal.Key) *policies.Policy {
	if k.Spec == "" {
		return nil
	}
	p, err := policies.Decode([]byte(k.Spec))
	if err != nil {
		return nil
	}
	return p
}

// retireOf are the paces at which a key of the policy leaves: those of the files, also for keys made under other ones. A
// compromised key leaves at once.
func overlapOf(r *run, k *journal.Key) time.Duration {
	if k.Compromised() {
		return 0
	}
	return r.policy.Retire.Overlap.Std()
}

// countLost counts a key whose value is gone, and makes the next create wait: or something that loses every value would cost
// a key a minute.
func countLost(r *run) {
	p := &r.rec.Policy
	pause := time.Hour
	if p.LostKeys < 6 {
		pause = time.Minute << p.LostKeys
	}
	p.LostKeys++
	p.NotBefore = r.now().Add(min(pause, time.Hour))
}

// failKey notes a failure of the work on a key in its row, and returns it.
func failKey(r *run, k *journal.Key, err error) Outcome {
	k.Tries++
	k.Reason, k.Error = reason.Of(err), err.Error()
	k.TryAt = r.now().Add(max(r.backoff(k.Tries), retryAfter(err)))
	return Outcome{Wait: k.TryAt, Err: err}
}

// restKey notes that the work on a key waits.
func restKey(r *run, k *journal.Key, until time.Time, why journal.Reason) Outcome {
	k.TryAt, k.Tries, k.Reason, k.Error = until, 0, why, ""
	return waits(until, why)
}

// work is what a job does with keys.
type work struct {
	wants   func(r *run, k *journal.Key) bool // there is something to do with the key
	stirred func(r *run, k *journal.Key) bool // what it waited for may be over at another time than was said; nil: never
	do      func(ctx context.Context, r *run, k *journal.Key) Outcome
	pause   time.Duration // the longest after a failure; 0: the usual back-off
}

// eachKey does a job's work on every key that wants it, each at its own pace: one that is stuck never holds up another. over
// says that the turn ends with the outcome.
func eachKey(ctx context.Context, r *run, w work) (all Outcome, over bool) {
	for i := 0; i < len(r.rec.Keys); i++ {
		k := &r.rec.Keys[i]
		if !w.wants(r, k) {
			continue
		}
		if r.postponed(k.TryAt) && (w.stirred == nil || !w.stirred(r, k)) {
			all = foremostOf(all, stands(k.TryAt, k.Reason, k.Error))
			continue
		}
		if unwritten(r, k) {
			all.Moved = true // one move of the table in one commit
			continue
		}
		ref := k.Ref
		out := w.do(ctx, r, k)
		if gone(ctx, out.Err) || r.unsure != nil {
			return out, true
		}
		if k = r.rec.Key(ref); k == nil {
			return moved, true
		}
		switch {
		case out.Err != nil:
			out = failKey(r, k, out.Err)
			if w.pause > 0 {
				k.TryAt = minTime(k.TryAt, r.now().Add(max(w.pause, retryAfter(out.Err))))
				out.Wait = k.TryAt
			}
		case out.Moved:
			k.TryAt, k.Tries, k.Reason, k.Error = noTime, 0, "", ""
		default:
			says := out.Says
			out = restKey(r, k, out.Wait, out.Reason)
			out.Says = says
		}
		all = foremostOf(all, out)
	}
	return all, false
}

package journal

import "time"

// Effect is one change that is sent to xAI or to a store. It is recorded before it is sent, and its row says whether it
// may still take effect.
type Effect struct {
	ID       string // UUIDv7
	Policy   string
	Key      string // keys.ref
	Kind     EffectKind
	Target   TargetID // of those on a target; zero for those on a key
	State    EffectState
	At       time.Time // of the intent
	QuietAt  time.Time // from then on it cannot land any more; on the later of xAI's clock and the journal's
	AckAt    time.Time // when the other side said yes
	ClosedAt time.Time // when nothing was left to do for it
	Expected string    // of a promote: the fingerprint that it replaces; of a stage that keeps a former value: its fingerprint
	Error    string
}

// Object names what the effect changes.
func (e *Effect) Object() Object { return Object{Key: e.Key, Target: e.Target} }

// Object is a key at xAI (Target is zero), or a key's value at a target.
type Object struct {
	Key    string
	Target TargetID
}

// EffectKind is what an effect changes.
type EffectKind string

// The kinds of effects: on a key, and on a target.
const (
	EffectCreate  EffectKind = "create"
	EffectUpdate  EffectKind = "update"
	EffectEnable  EffectKind = "enable"
	EffectDisable EffectKind = "disable"
	EffectDelete  EffectKind = "delete"

	EffectStage   EffectKind = "stage"
	EffectUnstage EffectKind = "unstage"
	EffectPromote EffectKind = "promote"
	EffectFence   EffectKind = "fence"
)

// OnTarget reports whether an effect of this kind changes a target.
func (k EffectKind) OnTarget() bool {
	switch k {
	case EffectStage, EffectUnstage, EffectPromote, EffectFence:
		return true
	}
	return false
}

// EffectState is what is known of an effect.
type EffectState string

// The states of an effect.
const (
	EffectOpen      EffectState = "open"      // recorded; it is being sent, or the process that would have died
	EffectDone      EffectState = "done"      // the other side said yes
	EffectRefused   EffectState = "refused"   // the other side said no: nothing changed
	EffectWithdrawn EffectState = "withdrawn" // it was never sent
	EffectUnknown   EffectState = "unknown"   // no answer: it may have landed, or land until QuietAt
	EffectSettled   EffectState = "settled"   // it was unknown, and its outcome was found out
)

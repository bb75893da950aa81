package journal

import (
	"strconv"
	"time"
)

// Scope is what a hold keeps from happening.
type Scope string

// The scopes.
const (
	// HoldAll: no rotation begins, and nothing that consumers may read is disabled or deleted. Healing goes on.
	HoldAll Scope = "all"
	// HoldRotations: no rotation begins. Healing and retirement go on.
	HoldRotations Scope = "rotations"
)

// Hold keeps a policy from starting, disabling and deleting.
type Hold struct {
	Reason, By string
	Scope      Scope     // "" is HoldAll
	At, Until  time.Time // Until zero: until released
}

// Active reports whether the hold holds at now.
func (h Hold) Active(now time.Time) bool {
	return !h.At.IsZero() && (h.Until.IsZero() || now.Before(h.Until))
}

// Stops reports whether the hold keeps keys from being disabled and deleted at now.
func (h Hold) Stops(now time.Time) bool { return h.Active(now) && h.Scope != HoldRotations }

// OrderKind is what a human asks for.
type OrderKind string

// The orders.
const (
	OrderRotate       OrderKind = "rotate"
	OrderAbort        OrderKind = "abort"
	OrderRollback     OrderKind = "rollback"
	OrderRevive       OrderKind = "revive"
	OrderResolve      OrderKind = "resolve"      // Target and Decision; or Adopt and KeyIDs
	OrderPropagation  OrderKind = "propagation"  // pass over a propagation map that stays incomplete
	OrderRehearse     OrderKind = "rehearse"     // take a key with the least rights through its whole life, to see what holds of xAI
	OrderRevoke       OrderKind = "revoke"       // KeyIDs: one key ends now, whatever reads it
	OrderDecommission OrderKind = "decommission" // the policy's keys go without a successor; abort takes it back
	OrderClaim        OrderKind = "claim"        // this installation takes over (Why), or starts over beside the other one (Copy)
)

// Order is a human's word that the policy's owner carries out.
type Order struct {
	ID           int64
	Policy       string
	Kind         OrderKind
	Trigger      Trigger // rotate: manual or compromised
	Supersede    bool    // rotate: also while keys of the last rotation are being retired
	FalseAlarm   bool    // rollback: the key that was reported compromised is not
	AcceptOutage bool    // revoke, decommission: also while consumers read the key
	Target       TargetID
	Decision     Decision
	KeyIDs       IDs // Adopt: the keys that were agreed to; rotate --compromised, revoke, Despite and Ours: the key
	Why, By      string
	From         string // where it was given, and how its policies were named
	At, DoneAt   time.Time
	Refused      string // why it was not carried out; "" when it was
	RotationID   string // what it began or joined
}

// Event tells of an order that is given.
func (o *Order) Event(id int64) Event {
	e := Event{At: o.At, Policy: o.Policy, Kind: Ordered, Data: map[string]string{"order": strconv.FormatInt(id, 10), "kind": string(o.Kind)}}
	for name, v := range map[string]string{
		"trigger": string(o.Trigger), "decision": string(o.Decision), "key_ids": string(o.KeyIDs), "why": o.Why, "by": o.By, "from": o.From,
	} {
		if v != "" {
			e.Data[name] = v
		}
	}
	for name, is := range map[string]bool{"supersede": o.Supersede, "false_alarm": o.FalseAlarm, "accept_outage": o.AcceptOutage} {
		if is {
			e.Data[name] = "true"
		}
	}
	if o.Target != (TargetID{}) {
		e.Data["target"] = o.Target.String()
	}
	return e
}

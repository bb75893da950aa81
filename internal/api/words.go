package api

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// OrderRequest is an order to place.
type OrderRequest struct {
	Policy     string     `json:"policy"`                // revoke: may be left out, the key says which
	Kind       string     `json:"kind"`                  // rotate, abort, rollback, revive, revoke, decommission, resolve or propagation
	Trigger    string     `json:"trigger,omitempty"`     // rotate: manual (the default) or compromised
	Supersede  bool       `json:"supersede,omitempty"`   // rotate: also while old keys of the last one are not deleted
	Target     *TargetRow `json:"target,omitempty"`      // resolve
	Decision   string     `json:"decision,omitempty"`    // resolve: overwrite, leave or drop the target; adopt keys; despite a target; or ours, of a key
	KeyIDs     []string   `json:"key_ids,omitempty"`     // adopt: those agreed to; rotate, compromised: the one; revoke, despite and ours: the one
	FalseAlarm bool       `json:"false_alarm,omitempty"` // rollback: the old key was reported compromised, and is not
	// AcceptOutage: revoke and decommission may cut off consumers that still read the key.
	AcceptOutage bool   `json:"accept_outage,omitempty"`
	Why          string `json:"why,omitempty"`
	By           string `json:"by"` // what the client says; recorded with what the kernel says
}

// Placed is an order that was recorded.
type Placed struct {
	ID int64 `json:"id"`
	// After is the id of the last event before the order: what [Client.Events] returns after it reports the order.
	After int64 `json:"after"`
}

// HoldRequest is a hold to set.
type HoldRequest struct {
	Policy string     `json:"policy"`
	Reason string     `json:"reason"`
	By     string     `json:"by"`
	Until  *time.Time `json:"until,omitempty"` // absent: until released
}

// ForgetRequest says what to forget: a removed policy, or one target of it.
type ForgetRequest struct {
	Policy string     `json:"policy"`
	Target *TargetRow `json:"target,omitempty"`
	By     string     `json:"by"`
}

// maxText bounds what a human says, in bytes.
const maxText = 500

// keyLike is what looks like a key of xAI's, of either kind: the journal would keep it forever.
var keyLike = regexp.MustCompile(`xai-(token-)?[A-Za-z0-9]{16,}`)

// keyID is the form of a key's id.
var keyID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,100}$`)

// checkText refuses words that are too long to show, or that hold a key someone pasted.
func checkText(texts ...string) error {
	for _, t := range texts {
		if len(t) > maxText {
			return usage(fmt.Sprintf("a text is longer than %d bytes", maxText))
		}
	}
	return checkNames(texts...)
}

// checkNames refuses names that hold a key someone pasted; a target's path may be long.
func checkNames(names ...string) error {
	if slices.ContainsFunc(names, keyLike.MatchString) {
		return usage("a text holds what looks like an API key; it is not recorded")
	}
	return nil
}

func (c *Server) postOrder(r *http.Request) (any, error) {
	var q OrderRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.Kind == string(journal.OrderRevoke) && q.Policy == "" && len(q.KeyIDs) == 1 {
		k, err := c.knownKey(r.Context(), q.KeyIDs[0])
		if err != nil {
			return nil, err
		}
		q.Policy = k.Policy
	}
	o, err := q.order(c.o.Now())
	if err != nil {
		return nil, err
	}
	o.By, o.From = speaker(r, o.By), origin(r)
	if err := c.mustKnow(r.Context(), o.Policy); err != nil {
		return nil, err
	}
	// Before the order, so that no event that reports it is missed.
	after, err := c.present(r.Context())
	if err != nil {
		return nil, err
	}
	id, err := c.o.Journal.Place(r.Context(), o)
	if err != nil {
		return nil, err
	}
	c.o.Log.Info("order placed", "order", id, "kind", o.Kind, "policy", o.Policy, "by", o.By)
	c.wake()
	return Placed{ID: id, After: after}, nil
}

// order checks the request and makes what the journal records of it.
func (q OrderRequest) order(now time.Time) (journal.Order, error) {
	o := journal.Order{
		Policy: q.Policy, Kind: journal.OrderKind(q.Kind), Trigger: journal.Trigger(q.Trigger), Supersede: q.Supersede,
		FalseAlarm: q.FalseAlarm, AcceptOutage: q.AcceptOutage, Decision: journal.Decision(q.Decision), Why: q.Why, By: q.By, At: now.UTC(),
	}
	if q.Target != nil {
		o.Target = journal.TargetID(*q.Target)
	}
	for _, id := range q.KeyIDs {
		o.KeyIDs = o.KeyIDs.With(id)
	}
	kinds := []journal.OrderKind{journal.OrderRotate, journal.OrderAbort, journal.OrderRollback, journal.OrderRevive,
		journal.OrderRevoke, journal.OrderDecommission, journal.OrderResolve, journal.OrderPropagation, journal.OrderRehearse}
	rotates, adopts := o.Kind == journal.OrderRotate, o.Kind == journal.OrderResolve && o.Decision == journal.Adopt
	resolves := o.Kind == journal.OrderResolve && !adopts
	despite, ours := resolves && o.Decision == journal.Despite, resolves && o.Decision == journal.Ours
	revokes, ends := o.Kind == journal.OrderRevoke, o.Kind == journal.OrderRevoke || o.Kind == journal.OrderDecommission
	names := revokes || adopts || despite || ours || rotates && o.Trigger == journal.ByCompromise && len(q.KeyIDs) > 0
	if rotates && o.Trigger == "" {
		o.Trigger = journal.ByHand
	}
	switch {
	case !slices.Contains(kinds, o.Kind):
		return o, usage(fmt.Sprintf("unknown order %q; want one of %v", q.Kind, kinds))
	case !rotates && (o.Trigger != "" || o.Supersede):
		return o, usage("trigger and supersede belong to rotate")
	case rotates && o.Trigger != journal.ByHand && o.Trigger != journal.ByCompromise:
		return o, usage(fmt.Sprintf("a human's trigger is %s or %s", journal.ByHand, journal.ByCompromise))
	case !resolves && (q.Target != nil || o.Decision != "" && !adopts):
		return o, usage("target and decision belong to resolve")
	case o.FalseAlarm && o.Kind != journal.OrderRollback:
		return o, usage("false_alarm belongs to rollback")
	case names != (len(q.KeyIDs) > 0):
		return o, usage("key_ids belong to revoke and to the decisions adopt, despite and ours, which need them, and to the trigger compromised")
	case len(q.KeyIDs) > 1 && !adopts:
		return o, usage("key_ids must name one key")
	case o.AcceptOutage && !ends:
		return o, usage("accept_outage belongs to revoke and decommission")
	case revokes && !o.AcceptOutage:
		return o, usage("revoke needs accept_outage: it ends a key whatever reads it")
	case ends && strings.TrimSpace(o.Why) == "":
		return o, usage(q.Kind + " needs why")
	case (despite || ours) && strings.TrimSpace(o.Why) == "":
		return o, usage("the decision " + string(o.Decision) + " needs why")
	case slices.ContainsFunc(q.KeyIDs, func(id string) bool { return !keyID.MatchString(id) }):
		return o, usage("key_ids holds what is not a valid key ID")
	case ours && q.Target != nil:
		return o, usage("the decision ours is of a key, and of no target")
	case resolves && !ours && (o.Target.Store == "" || o.Target.Path == ""):
		return o, usage("resolve needs a target with store and path")
	case resolves && !despite && !ours && o.Decision != journal.Overwrite && o.Decision != journal.Leave && o.Decision != journal.Drop:
		return o, usage(fmt.Sprintf("resolve needs a decision: %s, %s, %s, %s or %s", journal.Overwrite, journal.Leave, journal.Drop, journal.Despite, journal.Ours))
	case o.By == "":
		return o, usage("by must say who gives the order")
	}
	if err := checkNames(append(q.KeyIDs, o.Target.Path)...); err != nil {
		return o, err
	}
	return o, checkText(o.Why, o.By, o.Target.Store, o.Target.Field)
}

func (c *Server) getOrder(r *http.Request) (any, error) {
	id, err := number(r.PathValue("id"), "the order's id", 1, 1<<62)
	if err != nil {
		return nil, err
	}
	o, err := c.o.Journal.OrderByID(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return orderRow(o), nil
}

func (c *Server) postHold(r *http.Request) (any, error) {
	var q HoldRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	now := c.o.Now().UTC()
	h := journal.Hold{Reason: q.Reason, By: speaker(r, q.By), At: now}
	data := map[string]string{"reason": q.Reason, "by": h.By, "from": origin(r)}
	if q.Until != nil {
		h.Until = q.Until.UTC()
		data["until"] = h.Until.Format(time.RFC3339)
	}
	switch {
	case strings.TrimSpace(q.Reason) == "" || q.By == "":
		return nil, usage("a hold needs reason and by")
	case q.Until != nil && !h.Until.After(now):
		return nil, usage("the hold's end has passed already")
	}
	if err := checkText(q.Reason, q.By); err != nil {
		return nil, err
	}
	return nil, c.setHold(r, q.Policy, h, journal.Event{At: now, Policy: q.Policy, Kind: journal.HoldSet, Data: data})
}

func (c *Server) deleteHold(r *http.Request) (any, error) {
	policy, by := r.PathValue("policy"), r.URL.Query().Get("by")
	if by == "" {
		return nil, usage("by must say who releases")
	}
	if err := checkText(by); err != nil {
		return nil, err
	}
	now := c.o.Now().UTC()
	if h, err := c.o.Journal.HoldOf(r.Context(), policy); err != nil {
		return nil, err
	} else if h.At.IsZero() {
		return nil, c.mustKnow(r.Context(), policy)
	}
	e := journal.Event{At: now, Policy: policy, Kind: journal.HoldReleased, Data: map[string]string{"by": speaker(r, by), "from": origin(r)}}
	return nil, c.setHold(r, policy, journal.Hold{}, e)
}

func (c *Server) setHold(r *http.Request, policy string, h journal.Hold, e journal.Event) error {
	if err := c.mustKnow(r.Context(), policy); err != nil {
		return err
	}
	if err := c.o.Journal.SetHold(r.Context(), e.At, policy, h, e); err != nil {
		return err
	}
	c.o.Log.Info("policy "+string(e.Kind), "policy", policy, "by", e.Data["by"])
	c.wake()
	return nil
}

func (c *Server) postForget(r *http.Request) (any, error) {
	var q ForgetRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.By == "" {
		return nil, usage("by must say who forgets")
	}
	if err := checkText(q.By); err != nil {
		return nil, err
	}
	if err := c.mustKnow(r.Context(), q.Policy); err != nil {
		return nil, err
	}
	now := c.o.Now().UTC()
	e := journal.Event{At: now, Policy: q.Policy, Kind: journal.Forgotten, Data: map[string]string{"by": speaker(r, q.By), "from": origin(r)}}
	var target *journal.TargetID
	if q.Target != nil {
		id := journal.TargetID(*q.Target)
		if err := checkNames(id.String()); err != nil {
			return nil, err
		}
		target, e.Data["target"] = &id, id.String()
	}
	if err := c.o.Journal.Forget(r.Context(), now, q.Policy, target, e); err != nil {
		return nil, err
	}
	c.o.Log.Info("forgotten", "policy", q.Policy, "target", e.Data["target"], "by", e.Data["by"])
	c.wake()
	return nil, nil
}

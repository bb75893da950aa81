package rotation

import (
	"context"

	"rotator/rotation/journal"
	"rotator/rotation/turn"
)

// InHand is how many values of keys this process holds in memory.
func (e *Engine) InHand() int {
	e.hand.mu.Lock()
	defer e.hand.mu.Unlock()
	return len(e.hand.kept)
}

// GateRules are the rules of the gate.
func GateRules() []string {
	var names []string
	for _, x := range []rule{ruleState, ruleHold, ruleReconcile, ruleTeam, ruleIdentity, ruleTargets, ruleEffects, ruleSuccessor, ruleExplained} {
		names = append(names, string(x))
	}
	return names
}

// Without turns one rule of the gate off.
func (e *Engine) Without(name string) { e.without = rule(name) }

// Disable asks the gate for a key whatever state it is in, and disables it if the gate opens. No job does that.
func (e *Engine) Disable(ctx context.Context, c journal.Claim, rec *journal.Record, ref string) error {
	r := e.newRun(c, rec, e.environment(), turn.Hooks{})
	if err := r.recall(); err != nil {
		return err
	}
	_, err := disable(ctx, r, rec.Key(ref))
	return err
}

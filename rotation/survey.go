package rotation

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"rotator/policies"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/turn"
	"rotator/xai"
)

// Adoptions says what would be adopted by the policies named, or by all when none is, and why; for all, also which keys
// with our prefix are no policy's. It reads every target of every policy and lists the teams' keys, and records nothing.
func (e *Engine) Adoptions(ctx context.Context, only ...string) ([]Adoption, error) {
	c, err := e.survey(ctx)
	if err != nil {
		return nil, err
	}
	var rows []Adoption
	for i := range c.seen {
		if s := &c.seen[i]; len(only) == 0 || slices.Contains(only, s.claim.Policy) {
			of, err := c.of(ctx, s)
			if err != nil {
				return nil, err
			}
			rows = append(rows, of...)
		}
	}
	if len(only) == 0 {
		strays, err := c.strays(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range strays {
			// One that a target holds was spoken of already: a human may name it.
			if !slices.ContainsFunc(rows, func(r Adoption) bool { return r.Key.ID == a.Key.ID }) {
				rows = append(rows, a)
			}
		}
	}
	return rows, ctx.Err()
}

// survey is what the targets of all policies hold, each read once.
type survey struct {
	*Engine
	world Environment
	seen  []surveyed                  // by policy name
	held  map[string][]journal.Target // key id → the targets that hold it
	told  map[string]xai.KeyList      // team → its keys, once they were asked for
	named map[[2]string]bool          // team and policy name of the keys that are some policy's to adopt
}

// surveyed is one policy as a turn sees it that only looks: nothing of it is ever committed.
type surveyed struct {
	*run
	blind error // what could not be read
}

func (e *Engine) survey(ctx context.Context) (*survey, error) {
	all, err := e.ledger.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	c := &survey{
		Engine: e, world: e.environment(), held: make(map[string][]journal.Target), told: make(map[string]xai.KeyList),
		named: make(map[[2]string]bool),
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Policy.Name
	}
	records, err := e.ledger.LoadAll(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if rec == nil {
			continue // forgotten just now
		}
		if rec.Policy.RemovedAt.IsZero() {
			if err := c.look(ctx, rec); err != nil {
				return nil, err
			}
		}
		for _, row := range rec.Targets {
			c.held[row.KeyID] = append(c.held[row.KeyID], row)
		}
	}
	return c, nil
}

// look takes a policy into the survey, with what its targets hold now.
func (c *survey) look(ctx context.Context, rec *journal.Record) error {
	name := rec.Policy.Name
	policy, err := policies.Decode([]byte(rec.Policy.Spec))
	if err != nil {
		return fmt.Errorf("policy %s in the journal: %w", name, err)
	}
	t := c.newRun(journal.Claim{Policy: name, Now: c.now()}, rec, c.world, turn.Hooks{})
	t.policy, t.plan = policy, policy
	names, err := names(ctx, t)
	if err != nil {
		return err
	}
	for _, name := range names {
		c.named[[2]string{policy.Team, name}] = true
	}
	c.seen = append(c.seen, surveyed{t, sight(ctx, t)})
	return ctx.Err()
}

// of says what becomes of the keys of one policy.
func (c *survey) of(ctx context.Context, s *surveyed) ([]Adoption, error) {
	use, err := inUseNow(s.run)
	if s.blind != nil {
		err = s.blind
	}
	var list xai.KeyList
	if err == nil {
		list, err = c.list(ctx, s.policy.Team)
	}
	if gone(ctx, err) {
		return nil, err
	}
	if err != nil {
		return []Adoption{{Policy: s.claim.Policy, As: AdoptWaits, Why: err.Error()}}, nil
	}
	found, err := adoptions(ctx, s.run, use, list.Keys, func(_ context.Context, keyID string) (string, error) {
		return c.elsewhere(s.claim.Policy, keyID), nil
	})
	slices.SortStableFunc(found, func(a, b Adoption) int {
		return cmp.Or(cmp.Compare(a.As, b.As), a.Key.Created.Compare(b.Key.Created), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	return found, err
}

// elsewhere says which target of another policy holds a key, or could not be read and may hold it.
func (c *survey) elsewhere(policy, keyID string) string {
	for _, row := range c.held[keyID] {
		if row.Policy != policy {
			return heldBy(row.TargetID, row.Policy)
		}
	}
	for _, s := range c.seen {
		if s.blind != nil && s.claim.Policy != policy {
			return fmt.Sprintf("a target of policy %s may hold it: %v", s.claim.Policy, s.blind)
		}
	}
	return ""
}

func (c *survey) list(ctx context.Context, team string) (xai.KeyList, error) {
	if list, ok := c.told[team]; ok {
		return list, nil
	}
	t, err := c.world.Team(ctx, team)
	if err != nil {
		return xai.KeyList{}, err
	}
	list, err := t.Keys.ListKeys(ctx, t.ID)
	if err == nil {
		c.told[team] = list
	}
	return list, err
}

// strays are the keys with our prefix that nothing in the journal names and that are no policy's to adopt.
func (c *survey) strays(ctx context.Context) ([]Adoption, error) {
	var rows []Adoption
	for _, team := range c.world.Teams() {
		list, err := c.list(ctx, team)
		if err != nil {
			return nil, fmt.Errorf("team %s: %w", team, err)
		}
		found, err := c.lists.Of(ctx, list)
		if err != nil {
			return nil, err
		}
		for _, k := range found {
			policy, _, ok := keyName(k.Key.Name)
			if k.Kind != inventory.Orphan || k.Policy != "" || ok && c.named[[2]string{team, policy}] {
				continue
			}
			why := "its name is not one that the rotator gives"
			if ok {
				why = fmt.Sprintf("no policy of team %s is named %s", team, policy)
			}
			rows = append(rows, Adoption{Key: k.Key, As: AdoptLeft, Why: why})
		}
	}
	return rows, nil
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/policies"
	"rotator/stores"
	"rotator/xai"
)

// checked is a row: ok without an error.
func checked(subject string, err error, do string) api.CheckRow {
	r := api.CheckRow{Subject: subject, Result: api.CheckOK}
	if err != nil {
		detail := strings.ReplaceAll(err.Error(), "\n", "; ") // several at once
		r.Result, r.Detail = api.CheckProblem, &detail
		if do != "" {
			r.Do = &do
		}
	}
	return r
}

func warned(subject, detail, do string) api.CheckRow {
	r := checked(subject, errors.New(detail), do)
	r.Result = api.CheckWarning
	return r
}

// Check implements api.Actions.
func (p actions) Check(ctx context.Context) ([]api.CheckRow, error) {
	v := p.present()
	var rows []api.CheckRow
	for _, p := range v.environment.problems {
		rows = append(rows, checked("configuration", errors.New(p.String()), ""))
	}
	if problems := p.lastRead().Problems; len(problems) > 0 {
		rows = append(rows, checked("policies", errors.New(summary(problems, v.Config.Policies.Dirs())), "What is named stays as it was accepted before. Fix it, and `rotator reload`."))
	}
	for _, name := range v.environment.names {
		if v.environment.teams[name] == nil {
			continue // told
		}
		rows = append(rows, v.checkTeam(ctx, name)...)
	}
	sound := map[string][]stores.Target{}
	for _, s := range v.Specs() {
		rows = append(rows, v.checkTargets(ctx, v.Policies[s.Name], sound)...)
		rows = append(rows, v.checkVerify(ctx, v.Policies[s.Name])...)
		if text := v.Policies[s.Name].EitherDay(time.Now()); text != "" {
			rows = append(rows, warned("schedule of "+s.Name, text, "Leave one of the two at *, unless both are meant; `rotator plan "+s.Name+" --until 90d` shows every run."))
		}
	}
	rows = append(rows, p.checkRights(ctx, v)...)
	rows = append(rows, v.checkDangers(ctx, sound)...)
	return append(append(rows, checkChannels(ctx, v.Config, p.log)...), checkTraces(v.Config.Traces)...), ctx.Err()
}

// checkChannels reads where events go, and the credentials for it. Nothing is sent.
func checkChannels(ctx context.Context, c *config.Config, log *slog.Logger) (rows []api.CheckRow) {
	for _, channel := range channels(c, log) {
		rows = append(rows, checked("notify "+channel.Name, channel.Sender.Check(ctx), "No event is sent there until it is fixed; `rotator notify test "+channel.Name+"` sends one."))
	}
	return rows
}

// checkTraces reads the headers for the collector. It is not called: no span is true that nothing was done for.
func checkTraces(c *config.Traces) (rows []api.CheckRow) {
	if c == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		warning, err := c.Headers[name].Check()
		if err == nil && warning != "" {
			err = fmt.Errorf("%s: %s", c.Headers[name], warning)
		}
		if err != nil { // rotations go on without
			rows = append(rows, warned("traces", fmt.Sprintf("header %s: %v", name, err), ""))
		}
	}
	if len(rows) == 0 {
		rows = append(rows, checked("traces", nil, ""))
	}
	return rows
}

// checkTeam asks xAI about a team's management key, and compares the policies with what the team has.
func (v view) checkTeam(ctx context.Context, name string) (rows []api.CheckRow) {
	subject := "team " + name
	if warning, err := v.Config.Teams[name].ManagementKey.Check(); err == nil && warning != "" {
		rows = append(rows, warned(subject, v.Config.Teams[name].ManagementKey.String()+": "+warning, ""))
	}
	t, err := v.environment.Team(ctx, name)
	if err != nil {
		return append(rows, checked(subject, err, "Put a valid management key of the team where teams."+name+".management_key refers to."))
	}
	m := v.environment.teams[name].speaker.management
	mk, err := m.Validate(ctx)
	if errors.Is(err, xai.ErrNotOffered) { // a list of the team's keys shows the rest
		var list xai.KeyList
		list, err = m.ListKeys(ctx, t.ID)
		mk.Date = list.Date
	}
	if err != nil {
		return append(rows, checked(subject, err, ""))
	}
	rows = append(rows, checkOffers(ctx, v.environment.teams[name], t.ID)...)
	if skew := time.Since(mk.Date).Abs(); !mk.Date.IsZero() && skew > 5*time.Minute {
		rows = append(rows, checked("clock", fmt.Errorf("it and xAI's differ by %s: nothing would be disabled or deleted", skew.Round(time.Second)), "Set this machine's clock."))
	}
	if lacking := lackingRights(mk.ACLs, rightsIn(v.Config.Mode)); len(lacking) > 0 {
		rows = append(rows, warned(subject, "the management key does not name "+strings.Join(lacking, ", "),
			"Give it these rights in xAI's console, if calls are refused: their names are not documented for certain."))
	} else {
		rows = append(rows, checked(subject, nil, ""))
	}
	return append(rows, v.checkACLs(ctx, name, t.ID, m)...)
}

// lackingRights lists those of the rights used that the ACLs of a management key do not name.
func lackingRights(acls []string, used []keyRight) (lacking []string) {
	if len(acls) == 0 || slices.ContainsFunc(acls, func(a string) bool { return strings.HasSuffix(a, "*") }) {
		return nil
	}
	for _, r := range used {
		if !slices.ContainsFunc(acls, func(a string) bool { return strings.HasSuffix(a, ":"+r.name) }) {
			lacking = append(lacking, r.name)
		}
	}
	return lacking
}

// checkTargets tries each target of a policy, as far as its store can tell without changing anything, and adds those without
// a problem to sound: store → its targets.
func (v view) checkTargets(ctx context.Context, policy *policies.Policy, sound map[string][]stores.Target) (rows []api.CheckRow) {
	for _, t := range policy.Targets {
		subject := fmt.Sprintf("target %s of %s", t, policy.Name)
		s, ok := v.environment.Store(t.Store)
		if !ok {
			rows = append(rows, checked(subject, errors.New(missingStore(t.Store)), "Fix the store in the configuration, and `rotator reload`."))
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		err := s.(stores.Checker).Check(ctx, storeTarget(t))
		cancel()
		if err == nil {
			sound[t.Store] = append(sound[t.Store], storeTarget(t))
		}
		do := "It is not known now; try again when the store answers."
		switch {
		case errors.Is(err, stores.ErrDenied):
			do = "Give the daemon's login that right: `rotator check --permissions --store " + t.Store + "` prints all that it needs."
		case errors.Is(err, stores.ErrInvalid):
			do = "Fix the target, or name another one in the policy."
		}
		rows = append(rows, checked(subject, err, do))
	}
	return rows
}

// missingStore is why nothing is known of what is in a store.
func missingStore(name string) string {
	return "store " + name + " is not configured, or cannot be made"
}

// storeTarget is a policy's target as its store sees it.
func storeTarget(t policies.Target) stores.Target {
	return stores.Target{Path: t.Path, Field: t.Field, Options: t.Options()}
}

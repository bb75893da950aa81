package rotation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// TestManagementKeySince: since when a management key is in use is noted once for each key, and outlives the process.
func TestManagementKeySince(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	since := func() (id string, at time.Time) {
		t.Helper()
		b.clock = b.clock.Add(time.Hour)
		if err := b.engine.scheduler.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := b.journal.Meta(t.Context(), journal.MetaManagementKey+"research")
		if err != nil {
			t.Fatal(err)
		}
		id, when, _ := strings.Cut(text, " ")
		if at, err = time.Parse(time.RFC3339, when); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return id, at
	}
	first, at := since()
	if first == "" || !at.Equal(b.clock) {
		t.Errorf("%q since %s, want since %s", first, at, b.clock)
	}
	b.birth()
	if again, later := since(); again != first || !later.Equal(at) {
		t.Errorf("another process knows %q since %s, want %q since %s", again, later, first, at)
	}
	b.token = b.sim.NewManagementKey(teamID)
	if other, later := since(); other == first || !later.Equal(b.clock) {
		t.Errorf("another key: %q since %s, want since %s", other, later, b.clock)
	}
}

// team is what the journal knows of a team.
func (b *bench) team(name string) journal.Team {
	b.t.Helper()
	all, err := b.journal.Teams(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, t := range all {
		if t.Name == name {
			return t
		}
	}
	return journal.Team{}
}

// inventory has the teams' keys listed once more.
func (b *bench) inventory() journal.Team {
	b.t.Helper()
	b.clock = b.clock.Add(time.Hour)
	if err := b.engine.scheduler.RunOnce(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return b.team("research")
}

// kinds are those of a team's keys, by their ids.
func (b *bench) kinds() map[string]inventory.Kind {
	b.t.Helper()
	list, err := b.mgmt.ListKeys(b.t.Context(), teamID)
	if err != nil {
		b.t.Fatal(err)
	}
	found, err := b.engine.Lists().Of(b.t.Context(), list)
	if err != nil {
		b.t.Fatal(err)
	}
	kinds := make(map[string]inventory.Kind)
	for _, k := range found {
		kinds[k.Key.ID] = k.Kind
	}
	return kinds
}

// TestKeysThatBearAnAttemptsName: a key that has the name of an attempt and that nothing will delete is reported as an
// orphan: of a second create that a proxy sent, of an attempt whose policy was forgotten.
func TestKeysThatBearAnAttemptsName(t *testing.T) {
	play(t, []liar{
		{"a second key of the name", xaisim.Options{}, func(b *bench) {
			b.createFirstKey(quick, targetA)
			second := b.stranger(b.record("chat").Keys[0].Name)
			if team := b.inventory(); team.Orphans != 1 || team.Managed != 1 || b.kinds()[second] != inventory.Orphan {
				b.violated("the team has %+v, the key is %s", team, b.kinds()[second])
			}
			if b.count(journal.OrphansSeen) != 1 {
				b.violated("orphans were told %d times", b.count(journal.OrphansSeen))
			}
			b.runUntilIdle()
			b.checkEnded()
		}},
		{"of a policy that was forgotten", xaisim.Options{}, func(b *bench) {
			b.sim.Inject(xaisim.Fault{Call: "create", Kind: xaisim.Reset}) // an attempt that leaves nothing behind
			b.load(policyDoc("chat", quick, targetA))
			b.runUntil(time.Minute, func() bool { return len(unsettled(b.record("chat"))) == 1 })
			name := unsettled(b.record("chat"))[0].Name
			b.runUntilIdle()
			if a, err := b.journal.KeysByName(b.t.Context(), []string{name}); err != nil || a[0].ID != "" || a[0].State != journal.AbsentKey {
				b.t.Fatalf("%v %+v", err, a)
			}
			left := b.key()
			b.strange[left] = true // no one's from now on
			b.load(policyDoc("other", quick, targetB))
			b.runUntilIdle()
			if err := b.journal.Forget(b.t.Context(), b.clock, "chat", nil, journal.Event{At: b.clock, Kind: journal.Forgotten}); err != nil {
				b.t.Fatal(err)
			}
			late := b.stranger(name)
			team := b.inventory()
			if kinds := b.kinds(); team.Orphans != 2 || team.Error != "" || kinds[left] != inventory.Orphan || kinds[late] != inventory.Orphan {
				b.violated("the team has %+v, the keys are %s and %s", team, kinds[left], kinds[late])
			}
		}},
	})
}

// TestTeamThatDoesNotAnswer: what is known of a team stays known while xAI does not answer, with the error beside it.
func TestTeamThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.stranger("someone else's")
	b.createFirstKey(quick, targetA)
	before := b.inventory()
	if before.Managed != 1 || before.Unmanaged != 1 || before.ID != teamID || before.ListedAt.IsZero() {
		t.Fatalf("the team has %+v", before)
	}
	for _, call := range []string{"list", "validate"} {
		b.sim.Inject(xaisim.Fault{Call: call, Count: -1, Kind: xaisim.Reset})
		validated := b.team("research").ValidatedAt
		got := b.inventory()
		if got.ValidatedAt.After(validated) != (call == "list") || got.Error == "" {
			t.Errorf("no answer to %s: %+v", call, got)
		}
		got.ValidatedAt, got.Error = before.ValidatedAt, ""
		if got != before {
			t.Errorf("no answer to %s: %+v, and before %+v", call, got, before)
		}
		b.sim.ClearFaults()
	}
	if got := b.inventory(); got.Error != "" || !got.ListedAt.After(before.ListedAt) {
		t.Errorf("xAI answers again: %+v", got)
	}
}

// TestManagementKeyRefused: people are notified at the next look, once, also while nothing is due that needs the key. That it
// was good before stays known.
func TestManagementKeyRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	good := b.token
	before := b.inventory()
	told := func(want int) journal.Team {
		t.Helper()
		team := b.inventory()
		if got := b.count(journal.TeamRefused); got != want {
			t.Errorf("told %d times, want %d; the team has %+v", got, want, team)
		}
		return team
	}
	told(0)
	b.token = secret.New("xai-token-revoked")
	if got := told(1); got.Error == "" || !got.ValidatedAt.After(before.ValidatedAt) {
		t.Errorf("the team has %+v, and before %+v", got, before)
	}
	told(1)
	b.token = good
	if got := told(1); got.Error != "" {
		t.Errorf("the key is good again: %+v", got)
	}
	b.token = secret.New("xai-token-revoked")
	told(2)
}

// TestSlowInventoryDelaysNoOther: a team whose xAI hangs has its keys listed beside the others', not before them; and a
// list that never ends is given up before its team's next turn.
func TestSlowInventoryDelaysNoOther(t *testing.T) {
	bubble(t, func(b *bench) {
		b.engine = newEngine("engine", rotation.Options{Journal: b.journal, Environment: hungTeam{manyTeams{bench: b}, "alpha"}, Now: b.now})
		b.runs(10 * time.Second)
		for _, name := range []string{"beta", "gamma"} {
			if b.team(name).ListedAt.IsZero() {
				b.violated("%s waits for another team's list", name)
			}
		}
		b.runs(40 * time.Minute)
		for _, name := range []string{"beta", "gamma"} {
			if age := b.clock.Sub(b.team(name).ListedAt); age > 16*time.Minute {
				b.violated("%s was listed %s ago", name, age)
			}
		}
		if alpha := b.team("alpha"); alpha.Error == "" || !alpha.ListedAt.IsZero() {
			b.violated("of the team that hangs is known %+v", alpha)
		}
	})
}

// hungTeam is a world in which the lists of one team never end.
type hungTeam struct {
	manyTeams
	name string
}

func (w hungTeam) Team(ctx context.Context, name string) (rotation.Team, error) {
	team, err := w.manyTeams.Team(ctx, name)
	if name == w.name {
		team.Keys = hungKeys{team.Keys}
	}
	return team, err
}

type hungKeys struct{ rotation.KeyAPI }

func (hungKeys) ListKeys(ctx context.Context, _ string) (xai.KeyList, error) {
	<-ctx.Done()
	return xai.KeyList{}, ctx.Err()
}

// TestListOlderThanTheDelete: a list that was asked for before a key was deleted, or that lags behind the delete, shows the key.
// However far apart the clocks of replicas are, only a list that is younger by xAI's own clock is believed: the key is there
// again, and is deleted again.
func TestListOlderThanTheDelete(t *testing.T) {
	t.Parallel()
	const ahead = 24 * time.Hour
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(quick, targetA)
	stale, err := b.mgmt.ListKeys(t.Context(), teamID)
	if err != nil {
		t.Fatal(err)
	}
	b.rotates()
	b.runUntilIdle()
	deleted := b.count(journal.KeyDeleted)
	if deleted != 1 {
		t.Fatalf("%d keys were deleted, want 1", deleted)
	}
	var ids []string
	for _, k := range stale.Keys {
		ids = append(ids, k.ID)
	}
	known, err := b.journal.Keys(t.Context(), ids)
	if err != nil || len(known) != 1 || known[0].State != journal.DeletedKey {
		t.Fatalf("%+v %v", known, err)
	}
	gone := known[0].DeletedAt
	for i, list := range []struct {
		name     string
		date     time.Time
		believed bool
	}{
		{"of before the delete", stale.Date, false},
		{"that lags behind it", gone.Add(time.Minute), false},
		{"without a date", time.Time{}, false},
		{"that is younger", gone.Add(time.Hour), true},
	} {
		stale.Date = list.date
		asked := false
		other := newEngine("ahead", rotation.Options{Journal: b.journal, Environment: staleList{b, stale, &asked},
			Now: func() time.Time { return b.now().Add(ahead * time.Duration(i+1)) }})
		if err := other.scheduler.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !asked {
			t.Fatal("the team was not listed")
		}
		orphans := b.team("research").Orphans
		b.runUntilIdle()
		if again := b.count(journal.KeyDeleted) - deleted; again != orphans || list.believed != (again == 1) {
			t.Errorf("a list %s: %d orphans, deleted %d times more", list.name, orphans, again)
		}
	}
	if len(b.broken) > 0 {
		t.Error(b.broken)
	}
}

// staleList is a world whose lists of a team's keys never change.
type staleList struct {
	*bench
	list  xai.KeyList
	asked *bool
}

func (w staleList) Team(ctx context.Context, name string) (rotation.Team, error) {
	team, err := w.bench.Team(ctx, name)
	team.Keys = staleKeys{team.Keys, w}
	return team, err
}

type staleKeys struct {
	rotation.KeyAPI
	world staleList
}

func (k staleKeys) ListKeys(context.Context, string) (xai.KeyList, error) {
	*k.world.asked = true
	return k.world.list, nil
}

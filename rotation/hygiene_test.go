package rotation_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// rights is what the loaded policies name: ACL → policies.
func (b *bench) rights(string) map[string][]string {
	named := map[string][]string{}
	for name, p := range b.specs {
		for _, acl := range p.Key.ACLs {
			named[acl] = append(named[acl], name)
		}
	}
	return named
}

// chores has the teams looked at, if it is their turn.
func (b *bench) chores() {
	b.t.Helper()
	var group errgroup.Group
	b.engine.Chores(b.t.Context(), &group)
	if err := group.Wait(); err != nil {
		b.t.Fatal(err)
	}
}

// newest is the last event of a kind.
func (b *bench) newest(k journal.Kind) (e journal.Event) {
	b.t.Helper()
	all, err := b.journal.Events(b.t.Context(), 0, 10_000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, one := range all {
		if one.Kind == k {
			e = one
		}
	}
	return e
}

// TestModelsComeAndGo: a model that a policy names is retired under the daemon. People are told once, within two hours, what is
// missing and who names it; reported again when it is back and goes once more.
func TestModelsComeAndGo(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{Models: []string{"grok-4", "grok-3-mini"}})
	b.load(strings.Replace(policyDoc("chat", "", targetA), "api-key:model:grok-4", `api-key:model:grok-3-mini", "api-key:model:grok-4`, 1))
	b.run(3 * time.Hour)
	b.inventory()
	if n := b.count(journal.RightsMissing); n != 0 {
		t.Fatalf("told %d times while nothing is missing", n)
	}
	for round := 1; round <= 2; round++ {
		b.sim.SetModels("grok-4", "grok-4.1")
		for range 5 {
			b.inventory()
		}
		e := b.newest(journal.RightsMissing)
		if n := b.count(journal.RightsMissing); n != round || e.Data["rights"] != "api-key:model:grok-3-mini" || e.Data["policies"] != "chat" || !e.Kind.Urgent() {
			t.Fatalf("round %d: told %d times, last %+v", round, n, e.Data)
		}
		b.sim.SetModels("grok-4", "grok-3-mini")
		b.inventory()
		if left, err := b.journal.Meta(t.Context(), journal.MetaKeys(journal.RightsMissing, "research")); err != nil || left != "" {
			t.Fatalf("round %d: %q is still told, %v", round, left, err)
		}
	}
}

// TestUnusedAndWideKeys: keys that nothing used for 30 days, and keys that may do everything, are reported once. Nothing is done about
// them. A management key that may not read billing is not asked with.
func TestUnusedAndWideKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.createFirstKey("", targetA)
	unused := b.stranger("a forgotten script")
	used, value := b.sim.AddKey(teamID, "a service", "api-key:model:grok-4", "api-key:endpoint:chat")
	b.strange[used] = true
	for range 40 {
		b.run(24 * time.Hour)
		b.chores()
		if err := b.infer.Chat(t.Context(), value, "grok-4"); err != nil {
			t.Fatal(err)
		}
		b.chats(b.key())
	}
	b.run(25 * time.Hour)
	b.chores()
	if e := b.newest(journal.KeysUnused); b.count(journal.KeysUnused) != 1 || e.Data["key_ids"] != unused || e.Data["team"] != "research" {
		t.Errorf("unused: told %d times, last %+v; want %s", b.count(journal.KeysUnused), e.Data, unused)
	}
	if e := b.newest(journal.KeysWide); b.count(journal.KeysWide) != 1 || e.Data["keys"] != unused {
		t.Errorf("wide: told %d times, last %+v; want %s", b.count(journal.KeysWide), e.Data, unused)
	}
	if !b.sim.Accepts(b.secretOf(unused)) {
		t.Error("the unused key was turned off")
	}
}

// TestUses: what may be said of a key's use, by what billing answers.
func TestUses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		o       xaisim.Options
		chats   bool
		of      string
		want    inventory.Use
		refused bool
	}{
		{"used", xaisim.Options{}, true, "busy", inventory.Used, false},
		{"not named among others", xaisim.Options{}, true, "idle", inventory.NoneSeen, false},
		{"nobody is named", xaisim.Options{}, false, "idle", inventory.Unknown, false},
		{"reported without use", xaisim.Options{UsageShowsIdle: true}, true, "idle", inventory.None, false},
		{"not grouped by key", xaisim.Options{UsageUngrouped: true}, true, "idle", inventory.Unknown, false},
		{"a part, asked one by one", xaisim.Options{UsageShowsIdle: true, UsageLimit: 1}, true, "idle", inventory.None, false},
		{"not allowed", xaisim.Options{UsageUnavailable: true}, true, "idle", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.o)
			keys := map[string]string{"idle": b.stranger("idle")}
			busy, value := b.sim.AddKey(teamID, "busy", "api-key:model:grok-4", "api-key:endpoint:chat")
			b.strange[busy], keys["busy"] = true, busy
			if c.chats {
				if err := b.infer.Chat(t.Context(), value, "grok-4"); err != nil {
					t.Fatal(err)
				}
			}
			b.clock = b.clock.Add(48 * time.Hour)
			uses, err := b.engine.Lists().Uses(t.Context(), inventory.Team{ID: teamID, About: b.mgmt}, []string{keys[c.of]}, b.clock.Add(-72*time.Hour))
			if (err != nil) != c.refused || uses[keys[c.of]] != c.want {
				t.Errorf("%q, %v; want %q", uses[keys[c.of]], err, c.want)
			}
		})
	}
}

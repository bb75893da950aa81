package rotation_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai/xaisim"
)

// TestOneGate shows that no way to xAI's destructive calls leads past the gate: it names every function of the program
// that calls one of them, or one of the gate's own last steps. The client itself is left out, and so are the stores, which
// may not import it.
func TestOneGate(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"DeleteKey": {"rotation/fence.go DeleteKey", "rotation/gate.go erase"},
		"RotateKey": nil,                                                                                                                // times the old secret to die by itself: never used
		"UpdateKey": {"rotation/fence.go UpdateKey", "rotation/gate.go enable", "rotation/gate.go turnOff", "rotation/rehearse.go run"}, // which sets a limit
		"erase":     {"rotation/gate.go destroy"},
		"turnOff":   {"rotation/gate.go destroy"},
		"destroy": {"rotation/abort.go aborting", "rotation/rehearse.go offAndOn", "rotation/rehearse.go run", "rotation/retire.go retire",
			"rotation/retire.go retireLeaked", "rotation/retire.go retireOne", "rotation/retire.go soaked", "rotation/sweep.go settleAttempt"},
	}
	got := callers(t, "..", want)
	for name, callers := range want {
		if !slices.Equal(got[name], callers) {
			t.Errorf("%s is called by %q, want %q", name, got[name], callers)
		}
	}
}

// callers finds, by the name called, "file function" of all callers under root, sorted.
func callers[T any](t *testing.T, root string, names map[string]T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (rel == "xai" || rel == "stores" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			name := "a variable"
			if f, ok := decl.(*ast.FuncDecl); ok {
				name = f.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr) // a call, or the method taken as a value
				if !ok {
					return true
				}
				if _, watched := names[sel.Sel.Name]; watched {
					if at := filepath.ToSlash(rel) + " " + name; !slices.Contains(found[sel.Sel.Name], at) {
						found[sel.Sel.Name] = append(found[sel.Sel.Name], at)
					}
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range found {
		slices.Sort(list)
	}
	return found
}

// forge writes into the journal what no step would.
func (b *bench) forge(change func(*journal.Record)) {
	b.t.Helper()
	if err := b.journal.Hasten(b.t.Context(), b.clock.Add(-100*24*time.Hour)); err != nil {
		b.t.Fatal(err)
	}
	claims, err := b.journal.Claim(b.t.Context(), "forger", b.clock, 1)
	if err != nil || len(claims) != 1 {
		b.t.Fatal("no claim", err)
	}
	r := b.record("chat")
	change(r)
	r.Policy.NextRunAt = b.clock
	if err := b.journal.Commit(b.t.Context(), claims[0], r, true); err != nil {
		b.t.Fatal(err)
	}
}

func TestGateAgainstAForgedJournal(t *testing.T) {
	play(t, []liar{
		{"the live key, called one to be retired", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA)
			b.reach(journal.Soaking)
			b.forge(func(r *journal.Record) {
				for i := range r.Keys {
					if k := &r.Keys[i]; k.State == journal.LiveKey {
						k.State, k.RetireFrom = journal.RetiringKey, b.clock
					}
				}
			})
			b.run(24 * time.Hour)
			b.works()
		}},
		{"a stranger's key, called rejected", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA)
			id := b.stranger("not ours")
			b.forge(func(r *journal.Record) {
				r.Keys = append(r.Keys, journal.Key{
					Ref: "forged", ID: id, Policy: "chat", Team: "research", Name: "rotator-chat-forged", Origin: journal.OfAttempt, State: journal.RejectedKey,
					Fingerprint: "sha256:00", CreatedAt: b.clock,
				})
			})
			b.run(24 * time.Hour)
			if b.gone(id) {
				b.violated("I3: a stranger's key was deleted")
			}
		}},
		{"a map that forgot where the old key is", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Live)
			for _, k := range b.sim.Keys(teamID) {
				if k.ID == old {
					b.stores["b"].Set("chat", k.Secret.Reveal()) // a consumer went back to the old key
				}
			}
			b.run(24 * time.Hour)
			if b.gone(old) || b.deletions() > 0 {
				b.violated("a key that a target holds was destroyed")
			}
		}},
	})
}

// TestGateSeesAKeyWithALineEnd: consumers trim what editors and shells put behind a key, so the gate does too.
func TestGateSeesAKeyWithALineEnd(t *testing.T) {
	spoil := func(b *bench, store, path, id string) { b.stores[store].Set(path, b.secretOf(id).Reveal()+"\n") }
	play(t, []liar{
		{"in the overlap", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Live)
			spoil(b, "b", "chat", old)
			b.run(24 * time.Hour)
			if b.deletions() > 0 || !b.accepts(old) {
				b.violated("a key that a target holds was destroyed")
			}
		}},
		{"in the soak", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA, targetB)
			old := b.key()
			b.reach(journal.Soaking)
			b.exempt[old] = true // it is off already: that is the human's doing
			spoil(b, "b", "chat", old)
			b.run(24 * time.Hour)
			if b.gone(old) {
				b.violated("a key that a target holds was deleted")
			}
		}},
		{"in a target of another policy", xaisim.Options{}, func(b *bench) {
			b.lives(quick, targetA)
			old := b.key()
			b.load(policyDoc("chat", quick, targetA), policyDoc("talk", quick, `{store: c, path: talk}`))
			b.stores["c"].Set("talk", b.secretOf(old).Reveal())
			b.run(time.Hour)
			b.stores["c"].Set("talk", b.secretOf(old).Reveal()) // talk made a key of its own; a human puts the old one back
			b.run(20 * time.Minute)
			b.reach(journal.Live)
			b.keep = true
			b.trap = func(int) error {
				if b.trace[len(b.trace)-1] == "xai validate before" { // the gate looks next; talk's own watch has not seen it
					spoil(b, "c", "talk", old)
				}
				return nil
			}
			b.rest()
			if b.gone(old) || !b.accepts(old) {
				b.violated("a key that another policy's target holds was destroyed")
			}
		}},
	})
}

// works checks that consumers read a key that xAI accepts.
func (b *bench) works() {
	if v := b.stores["a"].Read(stores.Target{Path: "chat", Field: "api_key"}); !b.sim.Accepts(v) {
		b.violated("consumers read %s, which was destroyed", b.idOf(v))
	}
}

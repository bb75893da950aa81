package rotation_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/rotation/reason"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// copyJournal copies a journal's file as it is, with what was not moved into it yet.
func copyJournal(t testing.TB, from, to string) {
	t.Helper()
	for _, end := range []string{"", "-wal"} {
		in, err := os.Open(from + end)
		if end != "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(to + end)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, in); err != nil {
			t.Fatal(err)
		}
		_, _ = in.Close(), out.Close()
	}
}

// onFile has chat live with a journal in a file, and returns its path.
func (b *bench) onFile(retire string) (path string) {
	path = filepath.Join(b.t.TempDir(), "journal.db")
	b.journal = openJournal(b.t, path)
	b.birth()
	b.createFirstKey(retire, targetA, targetB)
	return path
}

// snapshotAt copies the journal at the next point of that name, and runs until done.
func (b *bench) snapshotAt(point, path string, done func() bool) (snapshot string) {
	snapshot = filepath.Join(b.t.TempDir(), "snapshot.db")
	taken := false
	b.keep = true
	b.trap = func(int) error {
		if !taken && strings.HasPrefix(b.trace[len(b.trace)-1], point) {
			copyJournal(b.t, path, snapshot)
			taken = true
		}
		return nil
	}
	if !b.runUntil(5*time.Hour, done) || !taken {
		b.t.Fatalf("no snapshot was taken at %q: %s", point, b.state())
	}
	b.trap, b.keep, b.trace = nil, false, nil
	return snapshot
}

// TestCommitsLostOnSQLite: a file system that lied about its syncs, or a snapshot of the disk that was put back, takes the
// last commits away, and nothing reports it. No key that consumers read is destroyed, and where the targets agree, all goes on
// by itself.
func TestCommitsLostOnSQLite(t *testing.T) {
	var lives []liar
	rotate := journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand}
	for _, point := range []string{"xai create before", "xai create after", "store a stage before", "xai propagation before", "store a promote before", "store b promote before", "store b promote after"} {
		for _, later := range []time.Duration{0, time.Hour, 6 * time.Hour} {
			lives = append(lives, liar{point + ", " + later.String(), xaisim.Options{}, func(b *bench) {
				path := b.onFile(quick)
				b.order(rotate)
				snapshot := b.snapshotAt(point, path, func() bool { return b.state() == journal.Live })
				b.run(later)
				b.journal = openJournal(b.t, snapshot)
				b.birth()
				b.run(24 * time.Hour)
				b.live()
				b.servesAll()
			}})
		}
	}
	lives = append(lives, liar{"in a rollback", xaisim.Options{}, func(b *bench) {
		path := b.onFile(quick)
		old := b.key()
		b.reach(journal.Live)
		b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
		snapshot := b.snapshotAt("commit before", path, func() bool { return b.key() == old })
		b.journal = openJournal(b.t, snapshot)
		b.birth()
		b.run(24 * time.Hour)
		b.live()
		b.servesAll()
	}}, liar{"of a whole rotation and the next", xaisim.Options{}, func(b *bench) {
		path := b.onFile(quick)
		snapshot := filepath.Join(b.t.TempDir(), "snapshot.db")
		copyJournal(b.t, path, snapshot)
		b.rotates()
		b.rotates()
		now := b.sim.Live(teamID)
		b.journal = openJournal(b.t, snapshot)
		b.birth()
		b.run(24 * time.Hour)
		b.live()
		if n := len(b.sim.Live(teamID)); n != len(now) {
			b.violated("%d keys, and %d before: the journal knows none of them", n, len(now))
		}
	}})
	play(t, lives)
}

// servesAll checks that both targets hold one key that works.
func (b *bench) servesAll() {
	b.t.Helper()
	if x, y := b.reads("a"), b.reads("b"); x != y || !b.accepts(x) {
		p := b.record("chat").Policy
		b.violated("a holds %s, b %s; %s: %s", x, y, p.Reason, p.Error)
	}
}

// TestComparisonEndsByItself: a journal that says that it may not be the newest is compared, and where the targets agree it
// goes on by itself.
func TestComparisonEndsByItself(t *testing.T) {
	var lives []liar
	for _, s := range []journal.State{journal.Staged, journal.Verified, journal.Promoting, journal.Live, journal.Soaking} {
		for _, ends := range []bool{false, true} {
			if ends && (s == journal.Staged || s == journal.Verified) {
				continue // these end in another key than the one that the backup names, or in this one; see above
			}
			lives = append(lives, liar{string(s) + map[bool]string{true: ", and the rotation went on"}[ends], xaisim.Options{}, func(b *bench) {
				b.onFile(quick)
				b.reach(journal.Live)
				if s == journal.Soaking {
					b.runUntil(5*time.Hour, func() bool { return b.state() == s })
				} else if s != journal.Live {
					b.runUntilIdle()
					b.reach(s)
				}
				path := filepath.Join(b.t.TempDir(), "backup.db")
				if err := b.journal.Backup(b.t.Context(), path); err != nil {
					b.t.Fatal(err)
				}
				if ends {
					b.runUntil(time.Hour, func() bool { return b.state() == journal.Live })
				}
				b.journal = openJournal(b.t, path)
				b.birth()
				before := b.deletions()
				b.run(10 * time.Minute)
				if b.deletions() != before {
					b.violated("a key was destroyed while the journal was compared")
				}
				b.run(20 * time.Minute)
				if n := b.count(journal.Reconciled); n != 1 {
					b.violated("compared: %d; %s", n, b.record("chat").Policy.Error)
				}
				b.runUntilIdle()
				b.checkEnded()
			}})
		}
	}
	play(t, lives)
}

// installed is a daemon with a journal of its own, of some installation.
type installed struct {
	b       *bench
	name    string
	path    string
	docs    []string
	claimed bool
	j       *sqldb.DB
	e       *engine
}

// on makes it the one that acts.
func (i *installed) on() {
	b := i.b
	if i.j == nil {
		i.j = openJournal(b.t, i.path)
	}
	claimed, err := i.j.SetInstallation(b.t.Context(), b.clock, i.name)
	if err != nil {
		b.t.Fatal(err)
	}
	if i.e == nil || claimed != i.claimed {
		i.e = newEngine(i.name, rotation.Options{
			Journal: faultyJournal{i.j, b}, Environment: b, Log: b.log, Now: b.now, Pause: b.pause, Unclaimed: !claimed,
		})
	}
	b.journal, b.engine, i.claimed = i.j, i.e, claimed
	b.load(i.docs...)
}

// TestCopiedJournal: a copy of a journal is opened beside the original, with the same management key and the same targets,
// while a rotation is in its overlap. Neither destroys what the other's consumers read.
func TestCopiedJournal(t *testing.T) {
	rotate := journal.Order{Policy: "chat", Kind: journal.OrderRotate, Trigger: journal.ByHand}
	var lives []liar
	for _, adopt := range []string{"", "adopt: true"} {
		lives = append(lives, liar{"copy, with stores of its own " + adopt, xaisim.Options{}, func(b *bench) {
			path := filepath.Join(b.t.TempDir(), "journal.db")
			production := &installed{b: b, name: "production", path: path, docs: []string{policyDoc("chat", adopt+quick, targetA, targetB)}}
			production.on()
			b.run(time.Hour)
			b.reach(journal.Live)
			b.runUntilIdle()
			copied := filepath.Join(b.t.TempDir(), "copy.db")
			copyJournal(b.t, path, copied)
			staging := &installed{b: b, name: "staging", path: copied, docs: production.docs}
			staging.on()
			e := journal.Event{At: b.clock, Kind: journal.JournalRestored}
			if err := b.journal.ClaimInstallation(b.t.Context(), b.clock, "staging", true, e); err != nil {
				b.t.Fatal(err)
			}
			live := b.reads("a")
			here := b.stores
			there := map[string]*memstore.Store{"a": memstore.New(), "b": memstore.New(), "c": memstore.New()}
			for _, s := range []string{"a", "b"} {
				doc, _ := here[s].Doc("chat")
				there[s].Set("chat", doc)
			}
			b.stores = there
			staging.on()
			b.order(rotate)
			b.run(48 * time.Hour)
			if b.gone(live) || !b.accepts(live) {
				b.violated("the copy destroyed %s, which consumers of production read", live)
			}
			b.waits("chat", reason.OtherRotator, true)
			b.stores = here
			production.on()
			b.rotates()
			b.servesAll()
		}})
		for _, claim := range []string{"unclaimed", "copy"} {
			for _, first := range []string{"the original", "the copy"} {
				lives = append(lives, liar{claim + ", " + first + " acts first " + adopt, xaisim.Options{}, func(b *bench) {
					path := filepath.Join(b.t.TempDir(), "journal.db")
					production := &installed{b: b, name: "production", path: path, docs: []string{policyDoc("chat", adopt+quick, targetA, targetB)}}
					production.on()
					b.run(time.Hour)
					b.reach(journal.Live)
					copied := filepath.Join(b.t.TempDir(), "copy.db")
					copyJournal(b.t, path, copied)
					staging := &installed{b: b, name: "staging", path: copied, docs: production.docs}
					staging.on()
					if staging.claimed {
						b.violated("the copy is taken for the original")
					}
					if claim == "copy" {
						e := journal.Event{At: b.clock, Kind: journal.JournalRestored}
						if err := b.journal.ClaimInstallation(b.t.Context(), b.clock, "staging", true, e); err != nil {
							b.t.Fatal(err)
						}
					}
					live := b.reads("a")
					turns := []*installed{production, staging}
					if first == "the copy" {
						turns = []*installed{staging, production}
					}
					for i := range 6 {
						for _, who := range turns {
							who.on()
							if i == 1 && who == staging {
								b.order(rotate)
							}
							b.run(90 * time.Minute)
							b.live()
						}
						if b.reads("a") != live || !b.accepts(live) {
							b.violated("consumers of production read %s and not %s", b.reads("a"), live)
							live = b.reads("a")
						}
					}
					production.on()
					b.rotates()
					b.servesAll()
					if b.reads("a") == live {
						b.violated("the original does not rotate any more: %s", b.record("chat").Policy.Error)
					}
					live = b.reads("a")
					staging.on()
					b.run(24 * time.Hour)
					b.live()
					if b.reads("a") != live || !b.accepts(live) {
						b.violated("consumers of production read %s and not %s", b.reads("a"), live)
					}
				}})
			}
		}
	}
	play(t, lives)
}

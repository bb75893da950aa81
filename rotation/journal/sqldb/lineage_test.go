package sqldb

import (
	"database/sql"
	"errors"
	"io"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
)

// line leads to a server's socket, and can be cut or lead to another.
type line struct {
	net.Listener
	mu    sync.Mutex // guards what follows
	to    string     // "" cut
	conns []net.Conn
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{Listener: l, to: to}
	t.Cleanup(func() { _ = l.Close(); n.lead("") })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.join(c)
		}
	}()
	return n
}

func (n *line) join(c net.Conn) {
	n.mu.Lock()
	s, err := net.Dial("unix", n.to)
	if err != nil {
		n.mu.Unlock()
		_ = c.Close()
		return
	}
	n.conns = append(n.conns, c, s)
	n.mu.Unlock()
	go func() { _, _ = io.Copy(c, s); _ = c.Close() }()
	_, _ = io.Copy(s, c)
	_ = s.Close()
}

// lead breaks what there is; new connections go to the socket to.
func (n *line) lead(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to = to
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

// through is a database's address by way of the line.
func (n *line) through(database string) string {
	return "postgres://postgres@" + n.Addr().String() + "/" + nameOf(database) + "?sslmode=disable&connect_timeout=300"
}

func nameOf(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		panic(err)
	}
	return path.Base(u.Path)
}

// soon waits for what has to come, however slow the machine is.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in ten minutes: %s", what)
		}
	}
}

// lost wants that a claim is refused, as soon as the database answers.
func lost(t *testing.T, what string, write func() error) {
	t.Helper()
	soon(t, what+" is refused", func() bool {
		err := write()
		if err == nil {
			t.Fatalf("%s was written", what)
		}
		return errors.Is(err, journal.ErrLost)
	})
}

// again asks until the database answers: connections that a failover broke are errors first.
func again[T any](t *testing.T, ask func() (T, error)) (answer T) {
	t.Helper()
	soon(t, "an answer", func() (ok bool) {
		var err error
		answer, err = ask()
		return err == nil
	})
	return answer
}

// failures are the events that report lost commits.
func failures(t *testing.T, db *DB) (found []journal.Event) {
	t.Helper()
	all, err := db.Events(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e journal.Event) bool { return e.Kind != journal.FailedOver })
}

// TestFailoverThatLosesCommits promotes a standby that lacks the last commits.
func TestFailoverThatLosesCommits(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	database := primary.Database(t)
	replication, front := newLine(t, primary.Socket()), newLine(t, primary.Socket())
	standby := primary.Standby(t, replication.Addr().String())
	here, there := open(t, front.through(database)), open(t, front.through(database))
	setPolicies(t, here, "kept", "lost", "rest")
	kept := claimNamed(t, here, "kept")
	rec, err := here.Load(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	rec.Policy.Error = "first"
	if err := here.Commit(t.Context(), kept, rec, false, journal.Event{At: time.Now(), Kind: journal.Started}); err != nil {
		t.Fatal(err)
	}
	soon(t, "the standby has it", func() bool {
		look, err := Open(t.Context(), standby.Same(t, database), Options{ReadOnly: true, limits: patient})
		if err != nil {
			return false
		}
		events, err := look.Events(t.Context(), 0, 0)
		return errors.Join(err, look.Close()) == nil && slices.ContainsFunc(events, func(e journal.Event) bool { return e.Kind == journal.Started })
	})

	// The standby hears nothing more, and what is committed now is confirmed and lost.
	replication.lead("")
	before := there.engine.(*postgresDB).seen.Load()
	gone := claimNamed(t, there, "lost")
	rec.Policy.Error = "second"
	if err := here.Commit(t.Context(), kept, rec, false, journal.Event{At: time.Now(), Kind: journal.Failed}); err != nil {
		t.Fatal(err)
	}
	if err := here.SetMeta(t.Context(), journal.MetaRestored, "an earlier backup"); err != nil {
		t.Fatal(err)
	}
	standby.Promote(t)
	front.lead(standby.Socket())

	// Whoever acted before is told to stop, also if his claim was not lost.
	rec.Policy.Error = "third"
	lost(t, "a commit", func() error { return here.Commit(t.Context(), kept, rec, true) })
	lost(t, "a renewal", func() error { _, err := there.Renew(t.Context(), past, kept); return err })
	lost(t, "a batch", func() error {
		errs, err := there.CommitAll(t.Context(), []journal.Outcome{{Claim: kept, Record: rec}})
		return errors.Join(append(errs, err)...)
	})
	if again(t, func() (bool, error) { return there.Chore(t.Context(), past, "sweep", time.Hour) }) {
		t.Error("a chore was begun")
	}
	if due, rest, err := here.Next(t.Context()); err != nil || due.IsZero() || rest.IsZero() {
		t.Errorf("next due at %v, at rest %v: %v", due, rest, err)
	}

	// Both notice at once, and one of them sees to it.
	var wg sync.WaitGroup
	for _, db := range []*DB{here, there} {
		wg.Go(func() {
			for range 3 {
				if _, err := db.ClaimResting(t.Context(), "me", past, 10); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	told := failures(t, here)
	if len(told) != 1 || told[0].Data["timeline_before"] != "00000001" || told[0].Data["timeline"] != "00000002" {
		t.Errorf("told: %+v", told)
	}
	for _, name := range []string{"kept", "lost", "rest"} {
		c := claimNamed(t, there, name)
		if c.Epoch <= epochsLost {
			t.Errorf("%s: epoch %d", name, c.Epoch)
		}
		if rec, err := there.Load(t.Context(), name); err != nil || rec.Policy.Error == "third" || rec.Policy.Error == "second" {
			t.Errorf("%s: %q, %v", name, rec.Policy.Error, err)
		}
	}
	if _, err := there.Renew(t.Context(), past, gone); !errors.Is(err, journal.ErrLost) {
		t.Errorf("the claim that was lost: %v", err)
	}
	mark, err := here.Meta(t.Context(), journal.MetaRestored)
	if err != nil || !strings.HasPrefix(mark, "00000002 ") {
		t.Errorf("restored: %q, %v", mark, err)
	}
	// A claim of before is answered late, when others found the journal in order again.
	if err := there.engine.(*postgresDB).recover(t.Context(), before); err != nil {
		t.Error(err)
	}
	if len(failures(t, here)) != 1 {
		t.Error("it was told again")
	}
}

// claimNamed claims one policy.
func claimNamed(t *testing.T, db *DB, policy string) journal.Claim {
	t.Helper()
	got, err := db.Claim(t.Context(), "me", past, 1, policy)
	if err != nil || len(got) != 1 {
		t.Fatalf("claim %s: %v, %v", policy, got, err)
	}
	return got[0]
}

// TestBackupUnderRunningReplicas puts a backup in the place of the database, on the same timeline, as a snapshot of its
// disk does: only who remembers more than it holds can tell.
func TestBackupUnderRunningReplicas(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	database := server.Database(t)
	db := open(t, database)
	setPolicies(t, db, "a")
	if err := errors.Join(db.Record(t.Context(), journal.Event{Kind: journal.Started}), db.Close()); err != nil {
		t.Fatal(err)
	}
	server.Say(t, "CREATE DATABASE backup TEMPLATE "+nameOf(database))

	replicas := []*DB{open(t, database), open(t, database)}
	for _, db := range replicas {
		// An event that was lost may have an id that is given again.
		if err := db.Record(t.Context(), journal.Event{At: time.Now(), Kind: journal.Failed}); err != nil {
			t.Fatal(err)
		}
		c := claimNamed(t, db, "a")
		if err := db.Release(t.Context(), c, past); err != nil {
			t.Fatal(err)
		}
	}
	before := claimNamed(t, replicas[0], "a")
	server.Say(t, "DROP DATABASE "+nameOf(database)+" WITH (FORCE)", "ALTER DATABASE backup RENAME TO "+nameOf(database))
	if err := unname(t, database); err != nil {
		t.Fatal(err)
	}
	late := open(t, database) // knows nothing
	if err := late.Record(t.Context(), journal.Event{At: time.Now(), Kind: journal.Recovered}, journal.Event{Kind: journal.Recovered}); err != nil {
		t.Fatal(err)
	}
	for _, db := range replicas {
		again(t, func() ([]journal.Claim, error) { return db.Claim(t.Context(), "me", past, 1, "none") })
		again(t, func() ([]journal.Claim, error) { return db.Claim(t.Context(), "me", past, 1, "none") })
	}
	if told := failures(t, late); len(told) != 1 || told[0].Data["timeline_before"] != told[0].Data["timeline"] {
		t.Errorf("told: %+v", told)
	}
	if c := claimNamed(t, late, "a"); c.Epoch <= before.Epoch+epochsLost-10 {
		t.Errorf("epoch %d after %d", c.Epoch, before.Epoch)
	}
}

// unname makes a journal forget which database it is of.
func unname(t *testing.T, database string) error {
	t.Helper()
	db, err := sql.Open("pgx", database)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(t.Context(), `UPDATE lineage SET database_id = ''`)
	return errors.Join(err, db.Close())
}

// TestBackupElsewhere restores a backup into another database: the first process that opens it knows, and no one marked it.
func TestBackupElsewhere(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	database := server.Database(t)
	db := open(t, database)
	setPolicies(t, db, "a")
	before := claimNamed(t, db, "a")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	restored := func(database string) string {
		t.Helper()
		db := open(t, database)
		mark, err := db.Meta(t.Context(), journal.MetaRestored)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return mark
	}
	if mark := restored(database); mark != "" {
		t.Errorf("what was opened again has the mark %q", mark)
	}
	server.Say(t, "CREATE DATABASE backup TEMPLATE "+nameOf(database))
	backup := server.Same(t, "/backup")
	mark := restored(backup)
	if mark == "" {
		t.Error("a backup has no mark")
	}
	if again := restored(backup); again != mark {
		t.Errorf("marked twice: %q and %q", mark, again)
	}
	db = open(t, backup)
	if c := claimNamed(t, db, "a"); c.Epoch <= before.Epoch+epochsLost {
		t.Errorf("epoch %d after %d", c.Epoch, before.Epoch)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	server.Say(t, "DROP DATABASE "+nameOf(database)+" WITH (FORCE)", "CREATE DATABASE "+nameOf(database)+" TEMPLATE backup")
	if err := unname(t, database); err != nil { // as an earlier version left it
		t.Fatal(err)
	}
	if again := restored(database); again != mark {
		t.Errorf("a journal that did not know its database has the mark %q", again)
	}
}

// TestTimelineNeedsNoRights: an ordinary role may ask for the timeline; where it was forbidden, all else goes on.
func TestTimelineNeedsNoRights(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	server.Say(t, "CREATE ROLE plain LOGIN", "CREATE DATABASE plain OWNER plain")
	address := strings.Replace(server.Same(t, "/plain"), "postgres@", "plain@", 1)
	db := open(t, address)
	if e := db.engine.(*postgresDB); e.timeline != timelineNow || e.database != databaseNow {
		t.Error("an ordinary role may not ask for the lineage")
	}
	setPolicies(t, db, "a")
	claimNamed(t, db, "a")
	server.Say(t, `DROP DATABASE plain WITH (FORCE)`, "CREATE DATABASE plain OWNER plain")
	admin, err := sql.Open("pgx", server.Same(t, "/plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close() // nothing was written that a close could lose
	for _, function := range []string{"pg_walfile_name(pg_lsn)", "pg_control_system()"} {
		if _, err := admin.ExecContext(t.Context(), "REVOKE EXECUTE ON FUNCTION "+function+" FROM PUBLIC"); err != nil {
			t.Fatal(err)
		}
	}
	db = open(t, address)
	setPolicies(t, db, "a")
	claimNamed(t, db, "a")
	if len(failures(t, db)) > 0 {
		t.Error("a failover was seen")
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/follow"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

func TestHumanDurations(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", time.Second: "1s", 61 * time.Second: "1m1s", time.Hour: "1h",
		76 * time.Hour: "3d4h", 72*time.Hour + time.Minute: "3d", -5 * time.Minute: "-5m", 45 * 24 * time.Hour: "45d",
		59*time.Minute + 59*time.Second + 600*time.Millisecond: "1h",
	} {
		if got := human(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		code int
		says string
	}{
		{nil, 0, ""},
		{errors.New("broken"), 1, "rotator: broken\n"},
		{failed(errors.New("broken"), "Fix it."), 1, "rotator: broken\n  Fix it.\n"},
		{usage(errors.New("what?"), ""), 2, "rotator: what?\n"},
		{waiting(errTold, ""), 3, ""},
		{fmt.Errorf("open: %w", journal.ErrInUse), 1, "If that is the daemon"},
		{policies.Problems{{File: "a", Line: 1, What: "x"}, {File: "b", Line: 2, What: "y"}}, 2, "a:1: x\nb:2: y\n"},
		{&api.Error{Message: "no", Code: 3, Problems: []string{"a:1: x"}}, 3, "a:1: x\nrotator: no\n"},
	} {
		var b bytes.Buffer
		if code := report(&b, tc.err); code != tc.code || !strings.Contains(b.String(), tc.says) {
			t.Errorf("%v: exit %d, %q; want %d, %q", tc.err, code, b.String(), tc.code, tc.says)
		}
	}
}

func TestTargetsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, want := range []policies.Target{
		{Store: "s", Path: "a"}, {Store: "s", Path: "a/b:c", Field: "f"}, {Store: "s", Path: "arn:aws:x:y#z", Field: "f"},
	} {
		got, err := parseTarget("--target", want.String())
		if err != nil || *got != (api.TargetRow{Store: want.Store, Path: want.Path, Field: want.Field}) {
			t.Errorf("%s: %v, %v", want, got, err)
		}
	}
	for _, text := range []string{"", "s", "s:", ":p", "s:#f"} {
		if got, err := parseTarget("--target", text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"12h": now.Add(12 * time.Hour), "3d": now.Add(72 * time.Hour), "2026-04-01T08:00:00Z": time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := parseUntil(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := parseUntil("soon", now); err == nil {
		t.Error("soon was taken")
	}
}

// TestSentences: every kind of event has words, and none of them says what the journal must not.
func TestSentences(t *testing.T) {
	t.Parallel()
	for _, kind := range []journal.Kind{journal.Started, journal.KeyCreated, journal.KeyStaged, journal.Promoted, journal.Drifted, journal.Failed} {
		id := "r1"
		if got := sentence(api.EventRow{Kind: string(kind), Rotation: &id, Data: map[string]string{"target": "s:p", "error": "store is down"}}); got == "" {
			t.Errorf("%s is not told", kind)
		}
	}
}

func TestEveryReasonHasAdvice(t *testing.T) {
	t.Parallel()
	for _, r := range reason.All {
		if follow.Advice(string(r.Reason)) != r.Do || r.Do == "" {
			t.Errorf("%s: %q", r.Reason, follow.Advice(string(r.Reason)))
		}
	}
}

// TestLiveView: what was drawn is erased before anything else is said, line by line.
func TestLiveView(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	reason := "propagation"
	one := &shownTask{policy: "chat", row: api.StatusRow{State: "staged", Reason: &reason}}
	two := &shownTask{policy: "search", row: api.StatusRow{State: "planned"}}
	s := &liveView{w: &b, live: true, columns: 30, tasks: []followed{one, two}, begun: time.Now()}
	s.Draw(s.begun.Add(5 * time.Second))
	if got := b.String(); got != "  5s  chat  staged, waits: pro\n  5s  search  planned\n" {
		t.Errorf("%q", got)
	}
	b.Reset()
	s.tell("chat", "live")
	if got := b.String(); got != "\x1b[2A\x1b[Jchat: live\n" {
		t.Errorf("%q", got)
	}
	b.Reset()
	one.over = true
	s.Draw(s.begun)
	s.Clear()
	s.Clear()
	if got := b.String(); got != "  0s  search  planned\n\x1b[1A\x1b[J" {
		t.Errorf("%q", got)
	}
	b.Reset()
	(&liveView{w: &b, tasks: []followed{two}}).Draw(time.Now())
	if b.Len() > 0 {
		t.Errorf("%q elsewhere than on a terminal", b.String())
	}
}

// shownTask is a task as a view sees it.
type shownTask struct {
	policy string
	row    api.StatusRow
	over   bool
}

func (t *shownTask) Policy() string                { return t.policy }
func (t *shownTask) Status() (api.StatusRow, bool) { return t.row, !t.over }

// TestNothingSteersTheTerminal: what others named (a key at xAI, a reason) is text on one line.
func TestNothingSteersTheTerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	evil := "a\x1b[31m\nb\tc\u202ed\u009be"
	a := &cli{stdout: &b}
	if err := a.print(false, nil, func(t *table) { t.row("KEY", "NAME"); t.row(evil, "ü") }); err != nil {
		t.Fatal(err)
	}
	a.newLiveView(nil).tell(evil, evil)
	want := "KEY             NAME\na [31m b c d e  ü\na [31m b c d e: a [31m b c d e\n"
	if got := b.String(); got != want {
		t.Errorf("got:\n%q\nwant:\n%q", got, want)
	}
}

// environment is one of these variables alone.
func environment(pairs ...string) config.Env {
	return config.Env{Lookup: func(name string) (string, bool) {
		for _, p := range pairs {
			if value, ok := strings.CutPrefix(p, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}}
}

// pseudoTerminal is a terminal of a size, and what it shows.
func pseudoTerminal(t *testing.T, columns, rows uint16) (tty, shown *os.File) {
	t.Helper()
	shown, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shown.Close() })
	fd := int(shown.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0), unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return tty, shown
}

func TestTerminals(t *testing.T) {
	t.Parallel()
	tty, shown := pseudoTerminal(t, 20, 3)
	for _, c := range []struct {
		env    config.Env
		colors bool
		live   bool
	}{
		{environment("TERM=xterm"), true, true}, {environment("TERM=xterm", "NO_COLOR=1"), false, true}, {environment("TERM=dumb"), false, false},
	} {
		log, err := newLogger(tty, c.env, "text", "", false)
		if err != nil {
			t.Fatal(err)
		}
		log.Warn("w")
		log.Close(time.Minute)
		b := make([]byte, 1000)
		n, err := shown.Read(b)
		if got := string(b[:n]); err != nil || strings.Contains(got, "\x1b") != c.colors {
			t.Errorf("%q, %v; colors: want %v", got, err, c.colors)
		}
		a := &cli{stdout: &output{Writer: tty}, env: c.env}
		two := []*follow.Task{{}, {}}
		if s := a.newLiveView(two); s.live != c.live || c.live && s.columns != 20 {
			t.Errorf("a view of %d columns, live %v", s.columns, s.live)
		}
		if s := a.newLiveView(append(two, two...)); s.live {
			t.Error("a view that is higher than the terminal is live")
		}
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	for _, bad := range [][2]string{{"xml", ""}, {"text", "loud"}} {
		if _, err := newLogger(io.Discard, config.Env{}, bad[0], bad[1], false); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	var b bytes.Buffer
	log, err := newLogger(&b, config.Env{}, "json", "", false)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("a command is quiet")
	log.Warn("heard")
	log.Close(time.Minute)
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"msg":"heard"`) {
		t.Error(got)
	}
}

// TestLogOfTheJournal: what is written to systemd's journal says how grave it is, as the journal reads it.
func TestLogOfTheJournal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is read by its name
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at := info.Sys().(*syscall.Stat_t)
	for _, stream := range []string{fmt.Sprintf("%d:%d", at.Dev, at.Ino), "1:1"} { // the other is someone else's
		log, err := newLogger(f, environment("JOURNAL_STREAM="+stream), "text", "debug", true)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("d")
		log.Info("i")
		log.With("policy", "chat").Warn("level=ERROR")
		log.Error("e")
		log.Close(time.Minute)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := "<7>level=DEBUG msg=d\n<6>level=INFO msg=i\n<4>level=WARN msg=\"level=ERROR\" policy=chat\n<3>level=ERROR msg=e\ntime="
	if !strings.HasPrefix(string(got), want) {
		t.Errorf("got:\n%s\nwant it to begin with:\n%s", got, want)
	}
}

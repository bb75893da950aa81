package postgrestest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// StartWithClock starts a server whose clock [Server.SetClock] sets, by Debian's libfaketime, unpacked into a cache
// folder.
func StartWithClock(t testing.TB, settings ...string) *Server {
	t.Helper()
	folder, err := fetch("libfaketime")
	if err != nil {
		t.Fatal(err)
	}
	libs, err := filepath.Glob(filepath.Join(folder, "usr/lib/*-linux-gnu/faketime/libfaketime.so.1"))
	if err != nil || len(libs) != 1 {
		t.Fatalf("%s: no library (%v)", folder, err)
	}
	s := &Server{}
	s.start(t, s.initdb, func() []string {
		s.SetClock(t, 0)
		lib := filepath.Join(s.dir, "libfaketime.so") // a path to be loaded before others holds no space
		if err := os.Symlink(libs[0], lib); err != nil {
			t.Fatal(err)
		}
		s.env = []string{"LD_PRELOAD=" + lib, "FAKETIME_TIMESTAMP_FILE=" + s.clock(), "FAKETIME_CACHE_DURATION=1",
			"DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"}
		return asArgs(append([]string{"listen_addresses="}, settings...))
	})
	return s
}

func (s *Server) clock() string { return filepath.Join(s.dir, "clock") }

// SetClock sets the clock of a server that StartWithClock started, so much ahead of this machine's, within a second.
func (s *Server) SetClock(t testing.TB, ahead time.Duration) {
	t.Helper()
	next := s.clock() + "~"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%+.3f\n", ahead.Seconds()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.own(t, filepath.Base(next))
	if err := os.Rename(next, s.clock()); err != nil {
		t.Fatal(err)
	}
}

// Fill lets no file of the server's grow beyond size bytes any more, as a full disk does; Unfill ends that. A file of
// the write-ahead log has 1 MiB.
func (s *Server) Fill(t testing.TB, size uint64) {
	t.Helper()
	s.limit(t, fmt.Sprint(size))
}

// Unfill lets files grow again.
func (s *Server) Unfill(t testing.TB) {
	t.Helper()
	s.limit(t, "unlimited")
}

// limit bounds the files of the server's processes. Whom they run as may do it; root may lack the right.
func (s *Server) limit(t testing.TB, size string) {
	t.Helper()
	main := fmt.Sprint(s.pid(t))
	limited := make(map[string]bool)
	// The main process first: whom it starts from then on has its limit. Of its children a look may miss some, while others end.
	for left := []string{main}; len(left) > 0; left = slices.DeleteFunc(children(main), func(pid string) bool { return limited[pid] }) {
		for _, pid := range left {
			c := s.command(t.Context(), "prlimit", "--pid", pid, "--fsize="+size+":")
			if out, err := c.CombinedOutput(); err != nil && !bytes.Contains(out, []byte("No such process")) {
				t.Fatalf("prlimit: %v: %s", err, out)
			}
			limited[pid] = true
		}
	}
}

// children are the processes that a process started; none when it has ended.
func children(pid string) []string {
	text, _ := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	return strings.Fields(string(text))
}

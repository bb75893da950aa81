package audit_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rotator/internal/audit"
	"rotator/rotation/journal"
)

func some(n int) (events []journal.Event) {
	for i := range n {
		events = append(events, journal.Event{
			ID: int64(i + 1), At: time.Date(2026, 3, 1, 3, 0, 0, 5000, time.UTC), Policy: "chat", Kind: journal.Ordered,
			Data: map[string]string{"by": "=alice", "why": "a \"quote]\\ and\na line"}, Link: fmt.Sprint("link", i),
		})
	}
	return events
}

// TestFile: the file is found again after it was moved away, and its lines are JSON in order.
func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := audit.File(path)
	for range 2 {
		if err := f.Append(t.Context(), some(3)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path + ".1")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines: %s", len(lines), b)
		}
		for i, line := range lines {
			var got audit.Line
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.ID != int64(i+1) || got.Link != fmt.Sprint("link", i) || got.Data["by"] != "=alice" {
				t.Errorf("%s: %+v, %v", line, got, err)
			}
		}
	}
	if err := audit.File("/dev/full").Append(t.Context(), some(1)); err == nil {
		t.Error("a full disk is no error")
	}
}

// TestSyslog: a server gets counted messages of RFC 5424, and one whose certificate is of no one known gets nothing.
func TestSyslog(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	got := make(chan []string, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got <- frames(bufio.NewReader(c))
			_ = c.Close()
		}
	}()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	to := audit.SyslogTarget{Address: "tls://" + l.Addr().String(), Host: "host one"}
	if err := to.Send(t.Context(), some(1)); err == nil {
		t.Error("a certificate of no one known is accepted")
	}
	if n := len(<-got); n != 0 {
		t.Errorf("%d messages to a server that was not verified", n)
	}
	to.CA = ca
	if err := to.Send(t.Context(), some(2)); err != nil {
		t.Fatal(err)
	}
	want := `<109>1 2026-03-01T03:00:00.000005Z hostone rotator - ordered [event@32473 id="2" policy="chat" link="link1" data.by="=alice" data.why="a \"quote\]\\ and a line"]`
	if m := <-got; len(m) != 2 || m[1] != want {
		t.Errorf("got  %q\nwant %q", m, want)
	}
	for _, address := range []string{"", "tcp://h:1", "tls://h", "tls://u:p@h:1", "tls://h:1/x"} {
		if _, err := audit.SyslogAddress(address); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

// frames reads counted messages to the end.
func frames(r *bufio.Reader) (all []string) {
	for {
		count, err := r.ReadString(' ')
		if err != nil {
			return all
		}
		n, err := strconv.Atoi(strings.TrimSpace(count))
		b := make([]byte, max(n, 0))
		if _, full := io.ReadFull(r, b); err != nil || full != nil {
			return all
		}
		all = append(all, string(b))
	}
}

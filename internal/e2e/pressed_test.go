package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestPressedListener: thousands of connections that say nothing or half a request, and 200 who ask for the history all the
// time. The daemon, which may have 1024 file descriptors, rotates on; and metrics, readiness and the page answer.
func TestPressedListener(t *testing.T) {
	t.Parallel()
	p := newParts(t, xaisim.Options{})
	d := newDaemon(t, p, "watch: 1s, quarantine: 2s", p.fileStore())
	d.complain(t)
	for i := range 5 {
		p.write(t, fmt.Sprintf("policies/chat-%d.yaml", i), fmt.Sprintf("name: chat-%d\nteam: research\nschedule: \"@every 3s\"\nkey: {acls: %s}\n"+
			"targets: [{store: local, path: chat-%d}]\nretire: {overlap: %s, soak: 500ms}\n", i, acls, i, overlap))
	}
	pressed(t, d)
	lives := func() (n int) {
		rows, err := d.client().History(t.Context(), "", 10_000)
		if err != nil {
			return 0
		}
		for _, row := range rows {
			if row.State == string(journal.Live) || row.State == string(journal.Done) {
				n++
			}
		}
		return n
	}
	eventually(t, "each policy is live", func() bool { return lives() >= 5 })

	pressing, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	held := hold(pressing, t, &working, d.web, connections(t))
	var asked, answered atomic.Int64
	crowd := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}, Timeout: 20 * time.Second}
	for range 200 {
		working.Go(func() {
			for pressing.Err() == nil {
				asked.Add(1)
				if code, _ := ask(pressing, crowd, "http://"+d.web+"/api/v1/history?limit=10000"); code == http.StatusOK {
					answered.Add(1)
				}
			}
		})
	}
	eventually(t, "the listener is pressed", func() bool { return held.Load() >= int64(connections(t)) && asked.Load() > 400 })
	before := lives()
	if before == 0 {
		t.Error("the socket for the commands does not answer")
	}
	for began := time.Now(); time.Since(began) < 8*time.Second; {
		for _, path := range []string{"/metrics", "/readyz", "/healthz", "/"} {
			// One that was cut off asks again, as Prometheus and the kubelet do.
			code, err := 0, error(nil)
			for range 5 {
				if code, err = ask(t.Context(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}, "http://"+d.web+path); code == http.StatusOK {
					break
				}
			}
			if code != http.StatusOK {
				t.Fatalf("%s answers %d, %v", path, code, err)
			}
		}
	}
	eventually(t, "ten more rotations under the pressure", func() bool { return lives() >= before+10 })
	if answered.Load() == 0 {
		t.Error("no history was ever answered")
	}
	t.Logf("%d connections held, %d histories asked for, %d answered", held.Load(), asked.Load(), answered.Load())
}

// pressed starts the daemon with few file descriptors.
func pressed(t *testing.T, d *daemon) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(d.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	running := &process{Cmd: exec.Command("sh", "-c", `ulimit -n 1024 && exec "$@"`, "sh", path, "run", "--log-format", "json", "--config", d.path("rotator.yaml")), ended: make(chan struct{})}
	running.Stdout, running.Stderr = log, log
	running.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "TMPDIR=" + d.dir}
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = running.Wait()
		close(running.ended)
	}()
	t.Cleanup(running.kill)
}

// connections is how many the test can hold open, which is bounded by its own file descriptors.
func connections(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(2500, limit.Cur/3))
}

// hold keeps n connections open until ctx ends, and opens those again that are closed, at a pace. The count grows with each.
func hold(ctx context.Context, t *testing.T, working *sync.WaitGroup, address string, n int) *atomic.Int64 {
	t.Helper()
	var held atomic.Int64
	for i := range n {
		working.Go(func() {
			for ctx.Err() == nil {
				c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
				if err != nil {
					continue
				}
				held.Add(1)
				if i%2 == 0 {
					_, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: loc") // and nothing more
				}
				ended := context.AfterFunc(ctx, func() { _ = c.Close() })
				_, _ = c.Read(make([]byte, 1)) // until it is closed
				ended()
				_ = c.Close()
				select {
				case <-ctx.Done():
				case <-time.After(3 * time.Second):
				}
			}
		})
	}
	return &held
}

// ask reads one answer to its end.
func ask(ctx context.Context, by *http.Client, url string) (code int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := by.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

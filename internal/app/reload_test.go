package app

import (
	"testing"

	"github.com/fsnotify/fsnotify"

	"rotator/internal/config"
)

func TestShorten(t *testing.T) {
	t.Parallel()
	for n, want := range []string{"…", "a…", "a…", "aü…", "aüb"} {
		if got := shorten("aüb", n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
}

func TestWhatIsReadAgain(t *testing.T) {
	t.Parallel()
	c := &config.Config{File: "./rotator.yaml", Policies: "/etc/policies"}
	for name, want := range map[string]bool{
		"/etc/policies": true, "/etc/policies/a.yaml": true, "/etc/policies/a.yml": true, "/etc/policies/a.yaml~": false, "/etc/policies/..data": true,
		"/etc/a.yaml": false, "rotator.yaml": true, "other.yaml": false,
	} {
		for _, op := range []fsnotify.Op{fsnotify.Create, fsnotify.Chmod} { // a file that could not be read may be readable now
			if got := concerns(c, fsnotify.Event{Name: name, Op: op}); got != want {
				t.Errorf("%s of %s: %v, want %v", op, name, got, want)
			}
		}
	}
}

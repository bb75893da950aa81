package app

import (
	"os"
	"path/filepath"
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
	dir := t.TempDir()
	for _, name := range []string{"new", "old", "new.d"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := &config.Config{File: "./rotator.yaml", Policies: config.Policies{{Dir: dir}}}
	folders := []string{dir, dir + "/old", dir + "/gone"}
	for name, want := range map[string]bool{
		dir: true, dir + "/a.yaml": true, dir + "/a.yml": true, dir + "/a.yaml~": false, dir + "/..data": true, dir + "/old/a.yaml": true,
		dir + "/old/..data": true, dir + "/gone": true, dir + "/other/a.yaml": false, filepath.Dir(dir) + "/a.yaml": false, "rotator.yaml": true, "other.yaml": false,
	} {
		for _, op := range []fsnotify.Op{fsnotify.Create, fsnotify.Chmod} { // a file that could not be read may be readable now
			if got := concerns(c, folders, fsnotify.Event{Name: name, Op: op}); got != want {
				t.Errorf("%s of %s: %v, want %v", op, name, got, want)
			}
		}
	}
	for _, name := range []string{"/new", "/new.d"} {
		if !concerns(c, folders, fsnotify.Event{Name: dir + name, Op: fsnotify.Create}) || concerns(c, folders, fsnotify.Event{Name: dir + name, Op: fsnotify.Chmod}) {
			t.Errorf("%s: a new folder is read, and no other change of it is looked at", name)
		}
	}
}

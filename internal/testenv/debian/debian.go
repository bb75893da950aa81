// Package debian gets for tests what is in Debian's packages, with the machine's own apt.
package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rotator/internal/testenv/testcache"
)

// Need installs the packages that hold commands which are missing: command → package. Only root can.
func Need(ctx context.Context, commands map[string]string) error {
	if len(missing(commands)) == 0 {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("only root can install what is missing: %s", strings.Join(missing(commands), ", "))
	}
	unlock, err := Fresh(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	packages := missing(commands) // others may have installed them while we waited
	if len(packages) == 0 {
		return nil
	}
	return fetch(ctx, "", append([]string{"install", "-qq", "--no-install-recommends"}, packages...)...)
}

// fresh is how long lists of packages are taken for new.
const fresh = time.Hour

// Fresh renews the lists of packages, which a new machine does not have or which are old, where we are root. No other test
// uses apt until unlock: apt does not wait for itself.
func Fresh(ctx context.Context) (unlock func(), err error) {
	unlock, err = testcache.Lock("apt")
	if err != nil || os.Getuid() != 0 {
		return unlock, err
	}
	if err := renew(ctx); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// renewed is a file whose time reports that nothing is to do. It is beside the lists, and is gone when they are: the
// cache folder may outlive the machine.
const renewed = "/var/lib/apt/rotator-test.renewed"

// renew asks for the lists, unless someone did so not long ago.
func renew(ctx context.Context) error {
	if info, err := os.Stat(renewed); err == nil && time.Since(info.ModTime()) < fresh {
		return nil
	}
	if err := fetch(ctx, "", "update", "-qq"); err != nil {
		return err
	}
	return os.WriteFile(renewed, nil, 0o600)
}

// Program returns one program of a package, which is kept without installing it or what it depends on.
func Program(ctx context.Context, name, path string) (string, error) {
	return testcache.Keep(name+"-"+filepath.Base(path), func(kept string) error {
		unlock, err := Fresh(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		dir, err := os.MkdirTemp(filepath.Dir(kept), "unpacking-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir) // what stays in a cache folder does no harm
		if err := fetch(ctx, dir, "download", "-qq", name); err != nil {
			return err
		}
		archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil || len(archives) != 1 {
			return fmt.Errorf("apt-get download %s brought %q", name, archives)
		}
		if err := run(ctx, dir, "dpkg", "-x", archives[0], "."); err != nil {
			return err
		}
		return os.Rename(filepath.Join(dir, path), kept)
	})
}

func missing(commands map[string]string) []string {
	var packages []string
	for command, name := range commands {
		if _, err := exec.LookPath(command); err != nil {
			packages = append(packages, name)
		}
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// fetch has apt bring something from Debian's servers.
func fetch(ctx context.Context, dir string, args ...string) error {
	return testcache.Fetch(ctx, func() error { return run(ctx, dir, "apt-get", args...) })
}

func run(ctx context.Context, dir, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

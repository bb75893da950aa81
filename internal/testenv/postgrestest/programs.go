package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotator/internal/testenv/debian"
)

// programs finds the folder that holds initdb and postgres.
func programs() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	var candidates []string
	if p, err := exec.LookPath("initdb"); err == nil {
		// Behind a link lies the folder that the server finds its other files from.
		if p, err = filepath.EvalSymlinks(p); err == nil {
			candidates = append(candidates, filepath.Dir(p))
		}
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(installed)
	cache, err := cacheFolder("postgresql")
	if err != nil {
		return "", err
	}
	unpacked, _ := filepath.Glob(filepath.Join(cache, "usr/lib/postgresql/*/bin"))
	for _, dir := range slices.Concat(candidates, installed, unpacked) {
		if whole(dir) {
			return dir, nil
		}
	}
	server, err := newestPackage(ctx)
	if err == nil {
		err = unpack(ctx, cache, server, "libpq5")
	}
	if err != nil {
		return "", fmt.Errorf("neither in PATH nor in /usr/lib/postgresql, and Debian's package could not be unpacked "+
			"(install PostgreSQL, or put its initdb and postgres into PATH): %w", err)
	}
	unpacked, _ = filepath.Glob(filepath.Join(cache, "usr/lib/postgresql/*/bin"))
	if len(unpacked) == 0 || !whole(unpacked[0]) {
		return "", fmt.Errorf("%s: the package holds no server", cache)
	}
	return unpacked[0], nil
}

func whole(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if i, err := os.Stat(filepath.Join(dir, name)); err != nil || i.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// cacheFolder is where a package is kept. Root's must be open to whom the server runs as.
func cacheFolder(name string) (string, error) {
	if os.Getuid() == 0 {
		return filepath.Join("/var/lib/rotator-test", name), nil
	}
	if dir := os.Getenv("ROTATOR_TEST_CACHE"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "rotator-test", name), err
}

// unpack puts Debian's packages, and the libraries that this machine lacks for the first of them, into the folder. The
// folder gets its name when all is there: it is always complete.
func unpack(ctx context.Context, folder string, packages ...string) error {
	unlock, err := debian.Fresh(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(folder); err == nil {
		return nil // unpacked by another while we waited
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(folder), "unpacking-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part) // what stays in a cache folder does no harm
	if err := os.Chmod(part, 0o755); err != nil {
		return err
	}
	wanted, err := output(ctx, part, "apt-get", "install", "--print-uris", "--no-install-recommends", "-qq", "-y", packages[0])
	if err != nil {
		return err
	}
	names := packages
	for _, m := range regexp.MustCompile(`(?m)^'\S+' ([a-z0-9.+-]+)_`).FindAllStringSubmatch(wanted, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	if _, err := output(ctx, part, "apt-get", append([]string{"download", "-qq"}, slices.Compact(names)...)...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(part, "*.deb"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if _, err := output(ctx, part, "dpkg", "-x", a, part); err != nil {
			return err
		}
		if err := os.Remove(a); err != nil {
			return err
		}
	}
	if err := os.Rename(part, folder); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// find lists Debian's packages whose names match the pattern, a line each.
func find(ctx context.Context, pattern string) (string, error) {
	unlock, err := debian.Fresh(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	return output(ctx, "/", "apt-cache", "search", "--names-only", pattern)
}

// newestPackage names the newest server that Debian has here.
func newestPackage(ctx context.Context) (string, error) {
	found, err := find(ctx, "^postgresql-[0-9]+$")
	if err != nil {
		return "", err
	}
	best := 0
	for line := range strings.Lines(found) {
		name, _, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "postgresql-")); err == nil {
			best = max(best, n)
		}
	}
	if best == 0 {
		return "", errors.New("apt knows no package postgresql-N (apt-get update?)")
	}
	return fmt.Sprintf("postgresql-%d", best), nil
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// fetchLimit bounds a download, over a slow network and after those of other tests: apt serves one at a time.
const fetchLimit = 20 * time.Minute

// fetch returns the folder with Debian's package of that name, unpacked into the cache.
func fetch(name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	folder, err := cacheFolder(name)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	if _, err := find(ctx, "^"+regexp.QuoteMeta(name)+"$"); err != nil {
		return "", err
	}
	if err := unpack(ctx, folder, name); err != nil {
		return "", fmt.Errorf("unpack the Debian package %s: %w", name, err)
	}
	return folder, nil
}

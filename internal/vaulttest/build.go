package vaulttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// buildLimit bounds one build of the server: a cold one takes about three minutes on two cores.
const buildLimit = 20 * time.Minute

// cacheVariable names the folder where built servers are kept; otherwise it is rotator-test in the user's cache folder.
const cacheVariable = "ROTATOR_TEST_CACHE"

// Slow is what to say, with the folder, when a build begins.
const Slow = "building the Vault test server, some minutes when cold:"

// Build returns the server's binary. It is built at most once for each content of the server's module and each Go
// release, also when several test binaries ask at once. Before a build that may take minutes it calls slow.
func Build(ctx context.Context, slow func(folder string)) (string, error) {
	source, err := sourceFolder()
	if err != nil {
		return "", err
	}
	name, err := version(source)
	if err != nil {
		return "", err
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "vault-"+name)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // which also releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil // built by another while we waited
	}
	slow(source)
	return binary, compile(ctx, source, binary)
}

// compile builds the module in source. The binary appears under its name only when it is whole.
func compile(ctx context.Context, source, binary string) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	partial := binary + ".partial"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", partial, ".")
	build.Dir = source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS=", "GOARCH=")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the Vault test server in %s: %w\n%s", source, err, out)
	}
	return os.Rename(partial, binary)
}

// sourceFolder finds the server's module upwards from the working folder, which for a test is that of its package.
func sourceFolder() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		source := filepath.Join(folder, "internal", "vaulttest", "server")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("the Vault test server's source is not above the working folder")
		}
		folder = parent
	}
}

// version names what the binary is built from.
func version(source string) (string, error) {
	sum := sha256.New()
	_, _ = io.WriteString(sum, runtime.Version()+runtime.GOOS+runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(sum, "\x00%s\x00%d\x00%s", name, len(content), content)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// cacheFolder returns the folder for built servers and makes sure that it is there.
func cacheFolder() (string, error) {
	folder := os.Getenv(cacheVariable)
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for the Vault test server, set %s: %w", cacheVariable, err)
		}
		folder = filepath.Join(cache, "rotator-test")
	}
	return folder, os.MkdirAll(folder, 0o700)
}

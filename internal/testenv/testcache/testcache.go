// Package testcache keeps what tests need and what takes minutes to make, programs and file systems, from one run to the
// next: in the folder that $ROTATOR_TEST_CACHE names, otherwise in rotator-test in the user's cache folder.
package testcache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// variable names the folder.
const variable = "ROTATOR_TEST_CACHE"

// Keep returns the path of a file or folder in the cache. Where it is not there, create makes it at another path first,
// where nothing is: it appears under its name only when it is whole. It is made once, also when several processes ask.
func Keep(name string, create func(path string) error) (string, error) {
	folder, err := Folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unlock, err := Lock(name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil // made by another while we waited
	}
	partial := path + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	if err := create(partial); err != nil {
		return "", err
	}
	return path, os.Rename(partial, path)
}

// Lock waits until no other process, nor another call in this one, has the lock of this name.
func Lock(name string) (unlock func(), err error) {
	folder, err := Folder()
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(folder, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		_ = lock.Close() // nothing was locked
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return func() { _ = lock.Close() }, nil // which also releases the lock
}

// Fetch does what brings something over a network, again when it fails: a connection that breaks says nothing of what is
// tested. It returns the third failure.
func Fetch(ctx context.Context, bring func() error) error {
	for try := 1; ; try++ {
		err := bring()
		if err == nil || try == 3 {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * 10 * time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// Folder returns the cache and makes sure that it is there.
func Folder() (string, error) {
	folder := os.Getenv(variable)
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for what tests keep, set %s: %w", variable, err)
		}
		folder = filepath.Join(cache, "rotator-test")
	}
	return folder, os.MkdirAll(folder, 0o700)
}

package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rotator/stores"
)

// work is one change of a target, under the target's lock.
type work struct {
	place
	root    folder // Dir
	state   folder // Dir/.rotator
	private access // of the files in it
}

// look runs fn with Dir open. No lock is taken: every file is replaced whole.
func (s *Store) look(ctx context.Context, t stores.Target, fn func(place, folder) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := locate(t)
	if err != nil {
		return err
	}
	root, err := openRoot(s.dir, s.stepper(t))
	if err != nil {
		return err
	}
	defer root.close()
	return fn(p, root)
}

// change runs fn under the target's lock, and removes what a crash left half-written for the target.
func (s *Store) change(ctx context.Context, t stores.Target, fn func(*work) error) error {
	return s.look(ctx, t, func(p place, root folder) error {
		state, err := root.walk([]string{stateFolder}, makeMissing)
		if err != nil {
			return err
		}
		defer state.close()
		if err := checkPrivate(root, state); err != nil {
			return err
		}
		w := &work{place: p, root: root, state: state, private: private.over(ownerOf(state))}
		held, err := w.lock(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = held.Close() }() // and with it the lock is gone, as it is when the process dies
		err = fn(w)
		if tidyErr := w.tidy(); err == nil { // the call's own error says more
			err = tidyErr
		}
		return err
	})
}

// tidy removes the target's temporary files.
func (w *work) tidy() error {
	if err := w.state.remove(w.stateTemp()); err != nil {
		return err
	}
	dir, err := w.root.walk(w.folders, mustExist)
	if err != nil {
		// Where no file can be reached none was left: the caller's own answer counts.
		if err = classify(err); errors.Is(err, stores.ErrNotFound) || errors.Is(err, stores.ErrInvalid) {
			return nil
		}
		return err
	}
	defer dir.close()
	return dir.remove(w.temp())
}

// checkPrivate refuses a state folder that others can look into, or that is another user's: ErrInvalid. Root works in the folder
// of a service. One that Kubernetes opened to a pod's fsGroup, as it does with all of a volume at a mount, is closed again.
func checkPrivate(root, state folder) error {
	var stat, top unix.Stat_t
	if err := errors.Join(unix.Fstat(state.fd(), &stat), unix.Fstat(root.fd(), &top)); err != nil {
		return err
	}
	if int(stat.Uid) == os.Geteuid() && stat.Mode&0o070 != 0 && stat.Gid == top.Gid && top.Mode&0o020 != 0 {
		if err := unix.Fchmod(state.fd(), stat.Mode&^(unix.S_IFMT|0o070)); err != nil {
			return err
		}
		stat.Mode &^= 0o070
	}
	if stat.Mode&0o077 != 0 {
		return fmt.Errorf("%w: %s must have mode 0700, it has %#o", stores.ErrInvalid, stateFolder, stat.Mode&0o777)
	}
	if self := unix.Geteuid(); self != 0 && int(stat.Uid) != self {
		return fmt.Errorf("%w: %s belongs to uid %d, who may read and replace what waits in it; it must be this process's own (uid %d)", stores.ErrInvalid, stateFolder, stat.Uid, self)
	}
	return nil
}

// lock takes the target's byte of the lock file, until the returned file is closed. An open file description lock is held
// by the open file and not by the process, so it keeps goroutines apart too.
func (w *work) lock(ctx context.Context) (*os.File, error) {
	file, err := w.state.openat("lock", unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return nil, err
	}
	err = w.private.give(file)
	if err == nil {
		err = w.state.step("lock")
	}
	if err == nil {
		err = waitLock(ctx, file, w.lockOffset())
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock: %w", err)
	}
	return file, nil
}

// waitLock takes the byte at offset. The system's own waiting could not be canceled.
func waitLock(ctx context.Context, file *os.File, offset int64) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: offset, Len: 1})
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stepper returns what is called before each step for the target.
func (s *Store) stepper(t stores.Target) func(string) error {
	return func(step string) error {
		if s.before == nil {
			return nil
		}
		return s.before(step, t.Path)
	}
}

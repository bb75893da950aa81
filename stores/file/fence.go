package file

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"rotator/internal/guard"
	"rotator/stores"
)

// fence returns the name of the file that counts the path's fences.
func (p place) fence() string { return p.pathID + ".fence" }

// Fence implements stores.Fencer. Under the target's lock it counts a number up that each Promote reads before it waits for
// the lock, and again under it: a process that froze before the lock finds another number and writes nothing. One that
// froze under the lock keeps Fence waiting, which then fails.
func (s *Store) Fence(ctx context.Context, t stores.Target) error {
	err := s.change(ctx, t, func(w *work) error {
		dir, err := w.root.walk(w.folders, mustExist)
		if err != nil {
			return err
		}
		defer dir.close()
		if _, err := dir.read(w.name, maxSize); err != nil {
			return err
		}
		fences, err := readFences(w.state, w.place)
		if err != nil {
			return err
		}
		text := strconv.AppendInt(nil, fences+1, 10)
		return w.state.replace(w.fence(), w.stateTemp(), text, w.private, func() error { return guard.Check(ctx) })
	})
	return wrap(err, "fence", t)
}

// fences returns how often the target was fenced. No lock is taken.
func (s *Store) fences(ctx context.Context, t stores.Target) (n int64, err error) {
	err = s.look(ctx, t, func(p place, root folder) error {
		state, err := root.walk([]string{stateFolder}, mustExist)
		if errors.Is(err, stores.ErrNotFound) {
			return nil // nothing was ever written here
		}
		if err != nil {
			return err
		}
		defer state.close()
		n, err = readFences(state, p)
		return err
	})
	return n, err
}

// readFences reads the number of a path's fences.
func readFences(state folder, p place) (int64, error) {
	raw, err := state.read(p.fence(), maxKept)
	if errors.Is(err, stores.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(raw.bytes), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: the count of fences is damaged", stores.ErrInvalid)
	}
	return n, nil
}

// sameFence checks that the target was not fenced since fences was read: ErrConflict. The caller holds the lock.
func (w *work) sameFence(fences int64) error {
	now, err := readFences(w.state, w.place)
	if err == nil && now != fences {
		err = fmt.Errorf("%w: the target was fenced meanwhile", stores.ErrConflict)
	}
	return err
}

// Place implements stores.Placer: the target's folder as the file system knows it, whatever leads to it, with the file's
// name and the field. The file itself becomes another one with each promote. ErrNotFound: there is no such folder yet.
func (s *Store) Place(ctx context.Context, t stores.Target) (string, error) {
	var at string
	err := s.look(ctx, t, func(p place, root folder) error {
		dir, err := root.walk(p.folders, mustExist)
		if err != nil {
			return err
		}
		defer dir.close()
		var stat unix.Stat_t
		if err := unix.Fstat(dir.fd(), &stat); err != nil {
			return err
		}
		at = fmt.Sprintf("%d:%d/%s#%s", stat.Dev, stat.Ino, p.name, p.field)
		return nil
	})
	return at, wrap(err, "find the place of", t)
}

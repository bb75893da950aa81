package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"rotator/stores"
)

// Check implements stores.Checker by doing: it reads the target, writes a file of 1 KiB with the target's owner, group
// and mode beside it (in the nearest folder that exists) and in the store's own folder, removes both, and decrypts what
// it encrypts. The store's own folder stays.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	err := s.change(ctx, t, func(w *work) error {
		dir, err := nearest(w.root, w.folders)
		if err != nil {
			return err
		}
		defer dir.close()
		seen := snapshot{content: content{access: asIs}}
		if target, err := w.root.walk(w.folders, mustExist); err == nil {
			defer target.close()
			seen, _, err = s.read(ctx, target, w.place)
			if err != nil && !errors.Is(err, stores.ErrNotFound) {
				return err
			}
		}
		if err := mayReplace(dir, seen.access); err != nil {
			return err
		}
		probe := bytes.Repeat([]byte("rotator\n"), 128)
		if err := s.checkSeal(ctx, probe); err != nil {
			return err
		}
		if err := w.state.probe(w.stateTemp(), probe, w.private); err != nil {
			return err
		}
		return dir.probe(w.temp(), probe, w.access.over(seen.access))
	})
	return wrap(err, "check", t)
}

// probe writes a file as replace would, and removes it.
func (f folder) probe(name string, data []byte, a access) error {
	if err := f.remove(name); err != nil { // of a crash
		return err
	}
	return errors.Join(f.fill(name, data, a), f.remove(name))
}

// nearest opens the last folder on the way that exists.
func nearest(root folder, names []string) (folder, error) {
	for n := len(names); n > 0; n-- {
		dir, err := root.walk(names[:n], mustExist)
		if !errors.Is(err, stores.ErrNotFound) {
			return dir, err
		}
	}
	return root.walk(nil, mustExist)
}

// mayReplace checks that a file may be renamed over one with the access of old: in a folder with the sticky bit only the
// owner of the file or of the folder may.
func mayReplace(dir folder, old access) error {
	var stat unix.Stat_t
	if err := unix.Fstat(dir.fd(), &stat); err != nil {
		return err
	}
	self := unix.Geteuid()
	if stat.Mode&unix.S_ISVTX != 0 && old.uid >= 0 && self != 0 && self != old.uid && self != int(stat.Uid) {
		return fmt.Errorf("%w: the folder is sticky and the file belongs to another user", stores.ErrDenied)
	}
	return nil
}

// checkSeal checks that what is encrypted can be decrypted.
func (s *Store) checkSeal(ctx context.Context, probe []byte) error {
	sealed, err := s.seal(probe)
	if err != nil {
		return err
	}
	plain, err := s.unseal(ctx, sealed)
	if err != nil {
		return err
	}
	if !bytes.Equal(plain, probe) {
		return fmt.Errorf("%w: what is encrypted does not decrypt to the same", stores.ErrInvalid)
	}
	return nil
}

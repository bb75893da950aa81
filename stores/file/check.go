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
// and mode beside it (in the nearest folder that exists) and in the store's own folder, reads both back, removes them,
// and decrypts what it encrypts. The store's own folder stays.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	err := s.change(ctx, t, func(w *work) error {
		dir, whole, err := nearest(w.root, w.folders)
		if err != nil {
			return err
		}
		defer dir.close()
		seen := snapshot{content: content{access: asIs}}
		if whole {
			if seen, _, err = s.read(ctx, dir, w.place); err != nil && !errors.Is(err, stores.ErrNotFound) {
				return err
			}
		}
		if err := errors.Join(w.writable(seen.doc), seen.alone(), checkSticky(dir, seen.content)); err != nil {
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

// nearest opens the last folder on the way that exists, and says whether that is the whole way.
func nearest(root folder, names []string) (dir folder, whole bool, err error) {
	for n := len(names); n > 0; n-- {
		dir, err := root.walk(names[:n], mustExist)
		if !errors.Is(err, stores.ErrNotFound) {
			return dir, n == len(names), err
		}
	}
	dir, err = root.walk(nil, mustExist)
	return dir, len(names) == 0, err
}

// probe writes a file as replace would, reads it as the store will have to (a file that was given to another user may be
// closed to us), and removes it.
func (f folder) probe(name string, data []byte, a access) error {
	if err := f.remove(name); err != nil { // of a crash
		return err
	}
	err := f.fill(name, data, a)
	if err == nil {
		_, err = f.read(name, maxSize)
	}
	return errors.Join(err, f.remove(name))
}

// checkSticky checks that the file may be replaced: ErrDenied.
func checkSticky(dir folder, old content) error {
	var stat unix.Stat_t
	if err := unix.Fstat(dir.fd(), &stat); err != nil {
		return err
	}
	if old.inode != 0 && !mayReplace(stat.Mode, unix.Geteuid(), int(stat.Uid), old.access.uid) {
		return fmt.Errorf("%w: the folder is sticky and the file belongs to another user", stores.ErrDenied)
	}
	return nil
}

// mayReplace reports whether the user self may rename over a file: in a folder with the sticky bit only the owner of the
// file or of the folder may.
func mayReplace(folderMode uint32, self, folderOwner, fileOwner int) bool {
	return folderMode&unix.S_ISVTX == 0 || self == 0 || self == folderOwner || self == fileOwner
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

package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// machine is the file system that this process sees.
type machine struct{}

var _ System = machine{}

// Machine is the file system that this process sees, as the zero Guard looks at it.
func Machine() System { return machine{} }

// UID implements System.
func (machine) UID() uint32 { return uint32(os.Geteuid()) } //nolint:gosec // it is never negative on Linux

// GID implements System.
func (machine) GID() uint32 { return uint32(os.Getegid()) } //nolint:gosec // it is never negative on Linux

// Readlink implements System.
func (machine) Readlink(path string) (string, error) { return os.Readlink(path) }

// Lstat implements System.
func (machine) Lstat(path string) (Facts, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Facts{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Facts{}, &fs.PathError{Op: "lstat", Path: path, Err: errors.ErrUnsupported}
	}
	f := Facts{Mode: info.Mode(), UID: s.Uid, GID: s.Gid}
	if info.IsDir() && (f.Mode.Perm()&0o022 != 0 || f.UID != 0) { // else nothing depends on it
		f.ReadOnly, f.Mount = onReadOnlyMount(path), isMount(path)
	}
	return f, nil
}

// onReadOnlyMount reports whether a folder lies on a read-only mount that is not the root folder's. Where the system does
// not tell, it does not.
func onReadOnlyMount(path string) bool {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil || s.Flags&unix.ST_RDONLY == 0 {
		return false
	}
	id, ok := mountOf(path)
	root, rooted := rootMount()
	return ok && rooted && id != root
}

// isMount reports whether a folder is the top of a mount.
func isMount(path string) bool {
	id, ok := mountOf(path)
	above, aboveOK := mountOf(filepath.Dir(path))
	return ok && aboveOK && id != above
}

var rootMount = sync.OnceValues(func() (uint64, bool) { return mountOf("/") })

// mountOf returns the number of the mount that a path is on. It takes Linux 5.8.
func mountOf(path string) (uint64, bool) {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &s)
	return s.Mnt_id, err == nil && s.Mask&unix.STATX_MNT_ID != 0
}

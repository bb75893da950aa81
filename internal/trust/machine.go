package trust

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// Private implements System. Root's groups are never its own.
func (machine) Private(gid uint32) bool {
	uid := os.Geteuid()
	if uid == 0 {
		return false
	}
	users, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return false
	}
	groups, err := os.ReadFile("/etc/group")
	return err == nil && privateGroup(string(users), string(groups), strconv.Itoa(uid), strconv.FormatUint(uint64(gid), 10))
}

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
	if f.Mode.Perm()&0o020 != 0 && f.Mode.Type() != fs.ModeSymlink {
		f.ACL = hasACL(path)
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

// hasACL reports whether a file has an access control list beside its mode. One that cannot be read counts.
func hasACL(path string) bool {
	_, err := unix.Lgetxattr(path, "system.posix_acl_access", nil)
	return err == nil || !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP)
}

// mountOf returns the number of the mount that a path is on.
func mountOf(path string) (uint64, bool) {
	if id, ok := mountByStatx(path); ok {
		return id, true
	}
	return mountByProc(path)
}

// mountByStatx takes Linux 5.8.
func mountByStatx(path string) (uint64, bool) {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &s)
	return s.Mnt_id, err == nil && s.Mask&unix.STATX_MNT_ID != 0
}

// mountByProc is for older kernels, such as those of Red Hat Enterprise Linux 8: see proc_pid_fdinfo(5).
func mountByProc(path string) (uint64, bool) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	text, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(text), "mnt_id:")
	line, _, _ := strings.Cut(rest, "\n")
	id, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
	return id, found && err == nil
}

package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"rotator/stores"
)

// The extended attributes in which Linux keeps a POSIX access control list and SELinux's label.
const (
	aclName   = "system.posix_acl_access"
	labelName = "security.selinux"
)

// attribute returns an extended attribute of the file; nil when it has none of that name.
func attribute(file *os.File, name string) ([]byte, error) {
	buf := make([]byte, 64<<10) // the largest value of an extended attribute
	n, err := unix.Fgetxattr(int(file.Fd()), name, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the attribute %s: %w", name, err)
	}
	return buf[:n:n], nil
}

// give sets owner, group, access control list, mode and label of a file that this process has just created. ErrDenied when
// it may not give files away.
func (a access) give(file *os.File) error {
	fd := int(file.Fd())
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if a.uid >= 0 && a.uid != int(stat.Uid) || a.gid >= 0 && a.gid != int(stat.Gid) {
		if err := unix.Fchown(fd, a.uid, a.gid); err != nil {
			return fmt.Errorf("give the file to owner %d, group %d (-1: unchanged): %w", a.uid, a.gid, err)
		}
	}
	if a.acl != nil {
		if err := unix.Fsetxattr(fd, aclName, a.acl, 0); err != nil {
			return fmt.Errorf("set the access control list: %w", err)
		}
	}
	if a.mode >= 0 { // last: a change of owner clears bits
		if err := unix.Fchmod(fd, uint32(a.mode)); err != nil { //nolint:gosec // at least 0, at most 07777
			return fmt.Errorf("set mode %#o: %w", a.mode, err)
		}
	}
	return a.relabel(file)
}

// relabel gives the file the label of the one before it: policies name files, and not only folders, and a consumer whom
// the label let in must stay in. A new file without any label shows that SELinux is not in force.
func (a access) relabel(file *os.File) error {
	if a.label == nil {
		return nil
	}
	label, err := attribute(file, labelName)
	if err != nil || label == nil || bytes.Equal(label, a.label) {
		return err
	}
	if err := unix.Fsetxattr(int(file.Fd()), labelName, a.label, 0); err != nil {
		return fmt.Errorf("keep SELinux's label: %w", err)
	}
	return nil
}

// ownerOf returns the owner that a thing which this process makes in the folder should have. Root gives it to the folder's
// owner: what an administrator ran by hand must not lock the daemon out. No one else gives anything away.
func ownerOf(f folder) access {
	var stat unix.Stat_t
	if unix.Geteuid() != 0 || unix.Fstat(f.fd(), &stat) != nil {
		return asIs
	}
	return access{uid: int(stat.Uid), gid: int(stat.Gid), mode: -1}
}

// mount is the mount that Dir is on. The id distinguishes bind mounts of one file system; where the kernel (before
// Linux 5.8) has none, the device does for folders. Files are then not compared: overlays show other devices for them.
type mount struct {
	id    uint64
	hasID bool
	major uint32
	minor uint32
}

// mountOf returns the mount that the open file is on.
func mountOf(file *os.File) (mount, error) {
	var stat unix.Statx_t
	if err := unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &stat); err != nil {
		return mount{}, fmt.Errorf("look at the mount: %w", err)
	}
	if stat.Mask&unix.STATX_MNT_ID != 0 {
		return mount{id: stat.Mnt_id, hasID: true}, nil
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return mount{}, nil
	}
	return mount{major: stat.Dev_major, minor: stat.Dev_minor}, nil
}

// holds checks that the open file is on the mount: ErrInvalid.
func (m mount) holds(file *os.File, name string) error {
	other, err := mountOf(file)
	if err != nil {
		return err
	}
	if other != m && other != (mount{}) {
		return fmt.Errorf("%w: %s is a mount point", stores.ErrInvalid, name)
	}
	return nil
}

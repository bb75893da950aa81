package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"golang.org/x/sys/unix"

	"rotator/internal/trust"
	"rotator/stores"
)

// folder is an open folder at or below Dir, reached without following a symlink or crossing a mount.
type folder struct {
	*os.File
	mount mount
	step  func(name string) error // called before each step that touches the disk; see Store.before
}

// openRoot opens Dir itself, which may be reached by symlinks and be a mount point.
func openRoot(dir string, step func(string) error) (folder, error) {
	if err := (trust.Guard{}).State(dir); errors.As(err, new(*trust.Error)) {
		return folder{}, fmt.Errorf("%w: others may put files into the store's folder: %w", stores.ErrInvalid, err)
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		return folder{}, fmt.Errorf("%w: the store's folder %s does not exist", stores.ErrInvalid, dir)
	}
	if err != nil {
		return folder{}, err
	}
	m, err := mountOf(f)
	if err != nil {
		_ = f.Close()
		return folder{}, err
	}
	return folder{File: f, mount: m, step: step}, nil
}

func (f folder) close() { _ = f.Close() } // only read from: nothing can be lost

// What walk does about a folder that does not exist.
const (
	mustExist   = false
	makeMissing = true
)

// walk opens the folder that names lead to, one by one. A missing folder is ErrNotFound, or made: durably, so that the
// file that is renamed into it later cannot lose its way.
func (f folder) walk(names []string, missing bool) (folder, error) {
	at, err := f.open(".")
	for _, name := range names {
		if err != nil {
			return folder{}, err
		}
		next, nextErr := at.open(name)
		switch {
		case !errors.Is(nextErr, unix.ENOENT):
		case missing == mustExist:
			nextErr = stores.ErrNotFound
		case name == stateFolder:
			next, nextErr = at.make(name, 0o700)
		default:
			next, nextErr = at.make(name, 0o755)
		}
		at.close()
		at, err = next, nextErr
	}
	return at, err
}

// open opens the folder called name in f.
func (f folder) open(name string) (folder, error) {
	file, err := f.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return folder{}, err
	}
	err = f.mount.holds(file, name)
	if err == nil && name != "." { // which openRoot looked at
		err = closed(file, name, f.File)
	}
	if err != nil {
		_ = file.Close()
		return folder{}, err
	}
	return folder{File: file, mount: f.mount, step: f.step}, nil
}

// closed refuses a folder in which everyone, a group that is not this process's, or those whom an access control list names may
// replace files: ErrInvalid. In one with the sticky bit they may not. A group that may write the folder above, which was looked at
// before, gains nothing: a pod's fsGroup may write all of a volume.
func closed(file *os.File, name string, above *os.File) error {
	var stat, up unix.Stat_t
	if err := errors.Join(unix.Fstat(int(file.Fd()), &stat), unix.Fstat(int(above.Fd()), &up)); err != nil {
		return err
	}
	open := stat.Mode & 0o022
	known := int(stat.Gid) == unix.Getegid() || stat.Gid == up.Gid && up.Mode&0o020 != 0 && up.Mode&unix.S_ISVTX == 0
	if open&0o020 != 0 && known {
		acl, err := attribute(file, aclName) // which names others, with the rights that show as the group's
		if err != nil {
			return err
		}
		if acl == nil {
			open &^= 0o020
		}
	}
	if open == 0 || stat.Mode&unix.S_ISVTX != 0 {
		return nil
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		path = name
	}
	return fmt.Errorf("%w: others may put files into the folder %s (mode %04o); fix it with: chmod go-w %s", stores.ErrInvalid, path, stat.Mode&0o777, path)
}

// make creates the folder called name in f, and opens it. Another process may create it at the same time.
func (f folder) make(name string, mode uint32) (folder, error) {
	if err := f.step("mkdir"); err != nil {
		return folder{}, err
	}
	if err := unix.Mkdirat(f.fd(), name, mode); err != nil && !errors.Is(err, unix.EEXIST) {
		return folder{}, fmt.Errorf("make folder %s: %w", name, err)
	}
	if err := f.sync(); err != nil {
		return folder{}, err
	}
	made, err := f.open(name)
	if err != nil {
		return folder{}, err
	}
	if err := ownerOf(f).give(made.File); err != nil {
		made.close()
		return folder{}, err
	}
	return made, nil
}

func (f folder) fd() int { return int(f.Fd()) }

// openat opens name in f itself, never what a symlink of that name leads to.
func (f folder) openat(name string, flags int, mode uint32) (*os.File, error) {
	for {
		fd, err := unix.Openat(f.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, mode)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
			return nil, fmt.Errorf("%w: %s is a symlink, which is not followed, or no folder", stores.ErrInvalid, name)
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", name, err)
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// The sizes in bytes of the largest file that is taken for a secret, and of the largest that the store keeps for itself:
// two former values, in base64 and perhaps encrypted.
const (
	maxSize = 1 << 20
	maxKept = 4 * maxSize
)

// content is a file as it was read: its bytes, who may do what with it, and which file it is.
type content struct {
	bytes  []byte
	access access
	inode  uint64 // 0: there was no file
	links  uint64 // how many names it has
}

// alone refuses a file with a second name: ErrInvalid. A rename would leave the old value under the other one, for whoever
// reads it there.
func (c content) alone() error {
	if c.links > 1 {
		return fmt.Errorf("%w: the file has %d hard links; the others would keep the old value", stores.ErrInvalid, c.links)
	}
	return nil
}

// same reports whether c and d are the same file in the same state.
func (c content) same(d content) bool {
	return c.inode == d.inode && bytes.Equal(c.bytes, d.bytes) && c.access.uid == d.access.uid && c.access.gid == d.access.gid &&
		c.access.mode == d.access.mode && bytes.Equal(c.access.acl, d.access.acl) && bytes.Equal(c.access.label, d.access.label) &&
		maps.Equal(c.access.attributes, d.access.attributes)
}

// read returns the regular file called name, of at most limit bytes: ErrNotFound when there is none, ErrInvalid when it is
// something else.
func (f folder) read(name string, limit int64) (content, error) {
	none := content{access: asIs}
	file, err := f.openat(name, unix.O_RDONLY, 0)
	if errors.Is(err, unix.ENOENT) {
		return none, stores.ErrNotFound
	}
	if err != nil {
		return none, err
	}
	defer func() { _ = file.Close() }()
	if err := f.mount.holds(file, name); err != nil {
		return none, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return none, fmt.Errorf("look at %s: %w", name, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Size > limit {
		return none, fmt.Errorf("%w: not a regular file of at most %d bytes", stores.ErrInvalid, limit)
	}
	acl, err := attribute(file, aclName)
	if err != nil {
		return none, err
	}
	label, err := attribute(file, labelName)
	if err != nil {
		return none, err
	}
	attributes, others, err := attributes(file)
	if err != nil {
		return none, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return none, fmt.Errorf("read %s: %w", name, err)
	}
	a := access{uid: int(stat.Uid), gid: int(stat.Gid), mode: int(stat.Mode & 0o7777), acl: acl, label: label, attributes: attributes, others: others}
	return content{bytes: data, access: a, inode: stat.Ino, links: uint64(stat.Nlink)}, nil
}

// replace makes data the content of the file called name, whole or not at all, and durable. temp is the name to write it
// under first. ready is called when only the rename is left; its error stops everything. On an error before the
// rename the old file is as it was; on one after it, it is not known whether the new one is durable.
func (f folder) replace(name, temp string, data []byte, a access, ready func() error) (err error) {
	if err := f.remove(temp); err != nil { // of a crash: the lock's owner is alone
		return err
	}
	defer func() {
		if err != nil {
			_ = f.remove(temp) // what cannot be removed now is removed by the next change of this target
		}
	}()
	if err := f.fill(temp, data, a); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if err := f.step("rename"); err != nil {
		return err
	}
	if err := unix.Renameat(f.fd(), temp, f.fd(), name); err != nil {
		return fmt.Errorf("rename over %s: %w", name, err)
	}
	return f.sync()
}

// fill creates a file with its access, content and nothing left in memory only. The access comes first: a file
// that cannot be given to its owner never holds the secret.
func (f folder) fill(name string, data []byte, a access) (err error) {
	if err := f.step("create"); err != nil {
		return err
	}
	file, err := f.openat(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := f.step("access"); err != nil {
		return err
	}
	a.attach(file) // as far as the file system takes them: Warnings says what it does not
	if err := a.give(file); err != nil {
		return err
	}
	if err := f.step("write"); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.step("sync file"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return nil
}

// settle makes the file called name durable as it is.
func (f folder) settle(name string) error {
	file, err := f.openat(name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := f.step("sync file"); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return f.sync()
}

// remove removes the file called name, durably. None there is success.
func (f folder) remove(name string) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(f.fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err := f.step("remove"); err != nil {
		return err
	}
	if err := unix.Unlinkat(f.fd(), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return f.sync()
}

// sync makes the folder's names durable.
func (f folder) sync() error {
	if err := f.step("sync folder"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	return nil
}

// classify gives the system's errors their meaning in the contract. A full or broken disk means "not known", and so does
// a file that vanishes halfway: only who looks for a file may say that there is none.
func classify(err error) error {
	for _, known := range []error{stores.ErrNotFound, stores.ErrConflict, stores.ErrInvalid, stores.ErrDenied} {
		if errors.Is(err, known) {
			return err
		}
	}
	for _, m := range []struct {
		errno   unix.Errno
		meaning error
	}{
		{unix.EACCES, stores.ErrDenied}, {unix.EPERM, stores.ErrDenied}, {unix.EROFS, stores.ErrDenied},
		{unix.ENOTDIR, stores.ErrInvalid}, {unix.EISDIR, stores.ErrInvalid},
		{unix.ENXIO, stores.ErrInvalid}, {unix.ENAMETOOLONG, stores.ErrInvalid}, {unix.EXDEV, stores.ErrInvalid},
		{unix.EBUSY, stores.ErrInvalid},
		// A file system without locks, or whose folders cannot be synced.
		{unix.EINVAL, stores.ErrInvalid}, {unix.ENOTSUP, stores.ErrInvalid}, {unix.ENOSYS, stores.ErrInvalid},
	} {
		if errors.Is(err, m.errno) {
			return fmt.Errorf("%w: %w", m.meaning, err)
		}
	}
	return err
}

package sqldb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rotator/internal/trust"
	"rotator/rotation/journal"
)

// lockFile takes the lock that keeps other processes away, and writes into it who has it. The kernel gives the lock back
// when the process ends, however it ends. The file stays: to remove it could let two processes each lock a file of its name.
func lockFile(path, program string, now time.Time) (*os.File, error) {
	f, err := openOrMake(path)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		text, _ := io.ReadAll(io.LimitReader(f, 1024))
		holder := strings.TrimSpace(string(text))
		if holder == "" {
			holder = "a process that has just begun"
		}
		return nil, errors.Join(fmt.Errorf("%w by %s (lock %s)", journal.ErrInUse, holder, path), f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		host, _ := os.Hostname()
		_, err = fmt.Fprintf(f, "pid %d on %s, since %s, %s\n", os.Getpid(), host, now.UTC().Format(time.RFC3339), program)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// openOrMake opens a file, or makes it for its owner alone. What root makes belongs to whom the folder belongs to: a
// command of root's may begin the journal that the service has to open. A file that was there stays whose it is.
func openOrMake(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil || os.Getuid() != 0 {
		return f, err
	}
	var folder unix.Stat_t
	err = unix.Stat(filepath.Dir(path), &folder)
	if err == nil && folder.Uid != 0 {
		err = f.Chown(int(folder.Uid), int(folder.Gid))
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) { // a container's root may not give files away
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// closedFolder refuses a folder in which others may replace the journal, or put files beside it that SQLite would take for its
// own.
func closedFolder(dir string) error {
	if err := (trust.Guard{}).State(dir); errors.As(err, new(*trust.Error)) {
		return fmt.Errorf("others may replace the journal: %w", err)
	}
	return nil
}

// stickyFolder reports whether a folder is one as /tmp is: everyone makes files there, and no one can replace those of others.
func stickyFolder(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode()&fs.ModeSticky != 0 && (trust.Guard{}).Check(dir) == nil
}

// Magic numbers of statfs(2) for file systems that other machines or programs serve: there neither locks nor fsync
// promise what SQLite needs. From linux/magic.h and, where it has none, the file systems' own sources.
var remoteDisks = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x65735546: "FUSE",
	0x01021997: "9P",
	0x00c36400: "Ceph",
	0x0bd00bd0: "Lustre",
	0x5346414f: "AFS",
	0x73757245: "Coda",
	0x01161970: "GFS2",
	0x7461636f: "OCFS2",
}

// localDisk refuses a folder that is not on a disk of this machine.
func localDisk(dir string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("statfs %s: %w", dir, err)
	}
	return refuseRemote(dir, uint32(s.Type)) //nolint:gosec // the kernel gives 32 bits
}

func refuseRemote(dir string, magic uint32) error {
	if name := remoteDisks[magic]; name != "" {
		return fmt.Errorf("%s is on %s: SQLite needs a local disk; put the journal on one, or use postgres://", dir, name)
	}
	return nil
}

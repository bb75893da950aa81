// Package trust says whether others than root and this process's user may change a file.
//
// A program of root that reads a file of someone else does what that user says. So a configuration, a policy and a program
// that a configuration names are used only where no other user can write them, or put another file in their place: the file
// and every folder on the way to it belong to root or to this process's user, and neither a group nor everyone may write
// them. A group that has one member only, this process's user, is no group in this sense: where each user has a group of the
// same name, files are often made writable for it (umask 0002). An access control list shows as the rights of the group, and
// names others; with one, no group is taken for a user's own. In a folder with the sticky bit, such as /tmp, everyone may
// make files, but no one can replace a file of another user: what lies in it only has to have the right owner. Links are
// followed one by one, and the way that each leads is looked at too.
//
// One exception: a folder on a read-only mount may belong to anyone, since nothing writes through that mount. A volume of
// Kubernetes that is made from a ConfigMap is such a folder (mode 0777). A mount that is the root folder's own does not
// count: under systemd's ProtectSystem=strict all is read-only to the service, and only to the service.
package trust

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Facts are what is looked at of a file, a folder or a link.
type Facts struct {
	Mode     fs.FileMode
	UID, GID uint32
	// ReadOnly: it lies on a read-only mount, and that mount is not the root folder's.
	ReadOnly bool
	// Mount: a folder that is the top of a mount.
	Mount bool
	// ACL: an access control list names who else has the rights of the group. It is looked for where the group may write.
	ACL bool
}

// System is where a Guard looks. Its methods follow no link at the end of a path.
type System interface {
	// Lstat returns the facts of one path.
	Lstat(path string) (Facts, error)
	// Readlink returns where a link leads.
	Readlink(path string) (string, error)
	// UID is this process's user, GID its group.
	UID() uint32
	GID() uint32
	// Private reports whether a group has no member but this process's user.
	Private(gid uint32) bool
}

// Guard looks at who may change files. The zero value looks at this machine.
type Guard struct {
	System System

	state   *state  // as [Guard.State] says; nil: not so
	editors *uint32 // as [Guard.Editors] says; nil: not so
}

// state is what State found on its way.
type state struct {
	volume bool   // there is a volume whose top a group may write
	group  uint32 // that group
}

func (g Guard) system() System {
	if g.System == nil {
		return machine{}
	}
	return g.System
}

// Error says who else may change a path, and which command ends that.
type Error struct {
	Path string
	What string // "PATH may be written by …"
	Fix  string // a command
}

// Error implements error.
func (e *Error) Error() string { return e.What + "; fix it with: " + e.Fix }

// maxLinks is how many links are followed on one way, as the system does.
const maxLinks = 40

// Check returns nil where only root and this process's user can change what path leads to. An [*Error] says who can;
// any other error is the system's, such as fs.ErrNotExist.
func (g Guard) Check(path string) error {
	_, err := g.Resolve(path)
	return err
}

// Resolve is Check, and returns the path without links.
func (g Guard) Resolve(path string) (string, error) {
	rest := parts(path)
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return "", err
		}
		rest = append(parts(dir), rest...)
	}
	sticky, err := g.top()
	if err != nil {
		return "", err
	}
	at, links := "/", 0
	for len(rest) > 0 {
		if rest[0] == ".." { // of where the links before it led to, as the system takes it
			at, rest = "/", append(parts(filepath.Dir(at)), rest[1:]...)
			if sticky, err = g.top(); err != nil {
				return "", err
			}
			continue
		}
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		f, err := g.system().Lstat(next)
		if err != nil {
			return "", err
		}
		if f.Mode.Type() != fs.ModeSymlink {
			if len(rest) == 0 {
				f = g.edited(f)
			}
			if sticky, err = g.judge(next, f, false); err != nil {
				return "", err
			}
			at = next
			continue
		}
		if _, err := g.judge(next, f, sticky); err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many links", path)
		}
		to, err := g.system().Readlink(next)
		if err != nil {
			return "", err
		}
		rest = append(parts(to), rest...)
		if !filepath.IsAbs(to) {
			rest = append(parts(at), rest...)
		}
		at = "/"
		if sticky, err = g.top(); err != nil {
			return "", err
		}
	}
	return at, nil
}

// Folder is Resolve for a folder that is read as a whole: there no one else may create files either, sticky bit or not.
func (g Guard) Folder(path string) (string, error) {
	at, err := g.Resolve(path)
	if err != nil {
		return "", err
	}
	return at, g.Entry(at)
}

// Entry looks at one file or folder alone, as Folder does. The folders on the way to it were looked at before.
func (g Guard) Entry(path string) error {
	f, err := g.system().Lstat(path)
	if err != nil {
		return err
	}
	return g.entry(path, f)
}

// entry judges a file or a folder by itself.
func (g Guard) entry(path string, f Facts) error {
	f.Mode &^= fs.ModeSticky
	_, err := g.judge(path, g.edited(f), false)
	return err
}

// top looks at the root folder.
func (g Guard) top() (sticky bool, err error) {
	f, err := g.system().Lstat("/")
	if err != nil {
		return false, err
	}
	return g.judge("/", f, false)
}

// judge says who else may change what is at a path. sticky reports that it is a folder in which everyone may make files and
// no one may replace those of others.
func (g Guard) judge(path string, f Facts, inSticky bool) (sticky bool, err error) {
	isLink := f.Mode.Type() == fs.ModeSymlink
	if isLink && !inSticky { // only who may write the folder can change a link
		return false, nil
	}
	if f.Mode.IsDir() && f.ReadOnly {
		return false, nil
	}
	own := g.system().UID()
	if g.state != nil && f.Mode.IsDir() {
		if f.Mount && f.Mode&fs.ModeSticky == 0 {
			if f.Mode.Perm()&0o020 != 0 {
				g.state.volume, g.state.group = true, f.GID
			}
			return false, nil
		}
		if own == 0 {
			f.UID = 0
		}
		if (f.GID == g.system().GID() || g.state.volume && f.GID == g.state.group) && !f.ACL {
			f.Mode &^= 0o020
		}
	}
	if f.UID != 0 && f.UID != own {
		owner := "root"
		if own != 0 {
			owner = strconv.FormatUint(uint64(own), 10)
		}
		return false, &Error{Path: path, What: fmt.Sprintf("%s belongs to %s, who may write it", path, userOf(f.UID)), Fix: "chown " + owner + " " + quote(path)}
	}
	sticky = f.Mode.IsDir() && f.Mode&fs.ModeSticky != 0
	if isLink || sticky {
		return sticky, nil
	}
	var who []string
	switch {
	case f.Mode.Perm()&0o020 == 0:
	case f.ACL:
		who = append(who, "those whom its access control list names")
	case !g.system().Private(f.GID):
		who = append(who, "the group "+groupOf(f.GID))
	}
	if f.Mode.Perm()&0o002 != 0 {
		who = append(who, "everyone")
	}
	if len(who) > 0 {
		return false, &Error{Path: path, What: fmt.Sprintf("%s may be written by %s (mode %04o)", path, strings.Join(who, " and "), f.Mode.Perm()), Fix: "chmod go-w " + quote(path)}
	}
	return false, nil
}

// State looks at a folder that this process keeps files of its own in: no other user may be able to put a file there, or another
// folder in its place. It is Folder, but for three things. A command of root's works in the folder of a service, whose files
// are given to it: the owner does not count for root. The folder may be writable for this process's own group. And a volume's
// top may have any mode: in a container it belongs to others than the process, which can't change that. Whoever's group may write the
// top may write below it too, as Kubernetes arranges for a pod's fsGroup at each mount.
func (g Guard) State(path string) error {
	g.state = &state{}
	at, err := g.Resolve(path)
	if err != nil {
		return err
	}
	f, err := g.system().Lstat(at)
	if err != nil {
		return err
	}
	if f.Mode&fs.ModeSticky != 0 {
		f.Mode, f.Mount = f.Mode&^fs.ModeSticky, false
	}
	_, err = g.judge(at, f, false)
	return err
}

// parts are the names of a path, one by one. A name ".." is kept: what it means depends on the links before it.
func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

// quote writes a path as a shell reads it.
func quote(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune("/._-+,:@%", r) && !isWord(r) }) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func userOf(id uint32) string {
	number := strconv.FormatUint(uint64(id), 10)
	if u, err := user.LookupId(number); err == nil {
		return fmt.Sprintf("%s (uid %s)", u.Username, number)
	}
	return "uid " + number
}

func groupOf(id uint32) string {
	number := strconv.FormatUint(uint64(id), 10)
	if g, err := user.LookupGroupId(number); err == nil {
		return fmt.Sprintf("%s (gid %s)", g.Name, number)
	}
	return number
}

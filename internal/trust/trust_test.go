package trust

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fake is a file system that is in a table.
type fake struct {
	uid   uint32
	facts map[string]Facts
	links map[string]string
}

func (f fake) UID() uint32 { return f.uid }

func (f fake) GID() uint32 { return f.uid }

func (f fake) Lstat(path string) (Facts, error) {
	facts, ok := f.facts[path]
	if !ok {
		return Facts{}, &fs.PathError{Op: "lstat", Path: path, Err: fs.ErrNotExist}
	}
	return facts, nil
}

func (f fake) Private(gid uint32) bool { return gid == own }

func (f fake) Readlink(path string) (string, error) { return f.links[path], nil }

const (
	root, daemon, other, nobody uint32 = 0, 990, 1000, 65534
	own                         uint32 = 777 // a group of the process's user alone

	dir, link, sticky = fs.ModeDir, fs.ModeSymlink, fs.ModeDir | fs.ModeSticky
)

// TestWhoMayWrite: each row changes one thing of a machine that is as it should be: the file /etc/rotator/rotator.yaml, and
// the same file by links and below /tmp.
func TestWhoMayWrite(t *testing.T) {
	t.Parallel()
	sound := map[string]Facts{
		"/": {Mode: dir | 0o755}, "/etc": {Mode: dir | 0o755}, "/etc/rotator": {Mode: dir | 0o755}, "/etc/rotator/rotator.yaml": {Mode: 0o644},
		"/tmp": {Mode: sticky | 0o777}, "/tmp/x": {Mode: dir | 0o700}, "/tmp/x/rotator.yaml": {Mode: 0o600}, "/tmp/rotator.yaml": {Mode: 0o600},
		"/srv": {Mode: dir | 0o755}, "/srv/link.yaml": {Mode: link | 0o777}, "/srv/rotator": {Mode: link | 0o777}, "/tmp/link.yaml": {Mode: link | 0o777},
		"/srv/up.yaml": {Mode: link | 0o777}, "/srv/loop": {Mode: link | 0o777}, "/home": {Mode: dir | 0o755}, "/home/ada": {Mode: dir | 0o755, UID: other},
		"/home/ada/rotator.yaml": {Mode: 0o644}, "/srv/home.yaml": {Mode: link | 0o777}, "/srv/ada": {Mode: link | 0o777}, "/srv/far.yaml": {Mode: link | 0o777}, "/srv/rotator.yaml": {Mode: 0o644},
		"/maps": {Mode: dir | 0o777, ReadOnly: true}, "/maps/..data": {Mode: link | 0o777}, "/maps/rotator.yaml": {Mode: link | 0o777},
		"/maps/..2026": {Mode: dir | 0o755, ReadOnly: true}, "/maps/..2026/rotator.yaml": {Mode: 0o644},
	}
	links := map[string]string{
		"/srv/link.yaml": "/etc/rotator/rotator.yaml", "/srv/rotator": "../etc/rotator", "/tmp/link.yaml": "/etc/rotator/rotator.yaml",
		"/srv/up.yaml": "rotator/../rotator/rotator.yaml", "/srv/loop": "loop", "/srv/home.yaml": "/home/ada/rotator.yaml",
		"/srv/ada": "/home/ada", "/srv/far.yaml": "ada/../rotator.yaml",
		"/maps/..data": "..2026", "/maps/rotator.yaml": "..data/rotator.yaml",
	}
	const file, tmp, below, byLink, byFolder, tmpLink, mapped = "/etc/rotator/rotator.yaml", "/tmp/rotator.yaml", "/tmp/x/rotator.yaml", "/srv/link.yaml",
		"/srv/rotator/rotator.yaml", "/tmp/link.yaml", "/maps/rotator.yaml"
	for _, c := range []struct {
		name string
		look string // the path that is looked at
		at   string // the path whose facts are others; "" none
		is   Facts
		uid  uint32 // of the process
		want string // a part of the error; "" where it is trusted
	}{
		{"all is root's", file, "", Facts{}, root, ""},
		{"all is root's, for the daemon", file, "", Facts{}, daemon, ""},
		{"in /tmp", tmp, "", Facts{}, root, ""},
		{"below /tmp", below, "", Facts{}, root, ""},
		{"by a link", byLink, "", Facts{}, root, ""},
		{"by a linked folder", byFolder, "", Facts{}, root, ""},
		{"by a link in /tmp", tmpLink, "", Facts{}, root, ""},
		{"by a link upwards", "/srv/up.yaml", "", Facts{}, root, ""},
		{".. behind a link is of where it leads", "/srv/rotator/../rotator.yaml", "", Facts{}, root, "lstat /etc/rotator.yaml"},
		{".. behind a link that a link names", "/srv/far.yaml", "/home/ada/rotator.yaml", Facts{Mode: 0o666}, root, "/home/ada belongs to"},
		{"..", "/etc/../srv/./../etc/rotator/rotator.yaml", "", Facts{}, root, ""},
		{"more .. than folders", "/../../etc/rotator/rotator.yaml", "", Facts{}, root, ""},
		{"by a link to itself", "/srv/loop", "", Facts{}, root, "too many links"},
		{"in another's home", "/home/ada/rotator.yaml", "", Facts{}, root, "/home/ada belongs to "},
		{"in one's own home", "/home/ada/rotator.yaml", "", Facts{}, other, ""},
		{"by a link into another's home", "/srv/home.yaml", "", Facts{}, root, "/home/ada belongs to "},
		{"in a ConfigMap", mapped, "", Facts{}, root, ""},
		{"in a ConfigMap, for the daemon", mapped, "", Facts{}, daemon, ""},
		{"in a ConfigMap of another owner", mapped, "/maps", Facts{Mode: dir | 0o777, UID: nobody, ReadOnly: true}, daemon, ""},
		{"in a ConfigMap's folder that can be written", mapped, "/maps", Facts{Mode: dir | 0o777}, root, "/maps may be written by the group root (gid 0) and everyone (mode 0777); fix it with: chmod go-w /maps"},
		{"in a ConfigMap, a file of everyone's", mapped, "/maps/..2026/rotator.yaml", Facts{Mode: 0o666}, root, "chmod go-w /maps/..2026/rotator.yaml"},
		{"in a ConfigMap, a file of another", mapped, "/maps/..2026/rotator.yaml", Facts{Mode: 0o644, UID: other}, root, "belongs to"},

		{"file: everyone's", file, file, Facts{Mode: 0o666}, root, "/etc/rotator/rotator.yaml may be written by the group root (gid 0) and everyone (mode 0666); fix it with: chmod go-w /etc/rotator/rotator.yaml"},
		{"file: everyone's, for the daemon", file, file, Facts{Mode: 0o666}, daemon, "everyone"},
		{"file: others alone", file, file, Facts{Mode: 0o602}, root, "may be written by everyone (mode 0602)"},
		{"file: root's group", file, file, Facts{Mode: 0o664}, root, "the group root (gid 0) (mode 0664)"},
		{"file: a group", file, file, Facts{Mode: 0o660, GID: 54321}, root, "may be written by the group 54321 (mode 0660)"},
		{"file: the user's own group", file, file, Facts{Mode: 0o664, GID: own}, daemon, ""},
		{"file: the user's own group and everyone", file, file, Facts{Mode: 0o666, GID: own}, daemon, "may be written by everyone (mode 0666)"},
		{"file: the user's own group, and a list that names others", file, file, Facts{Mode: 0o664, GID: own, ACL: true}, daemon, "may be written by those whom its access control list names (mode 0664)"},
		{"folder: the user's own group", file, "/etc/rotator", Facts{Mode: dir | 0o775, UID: daemon, GID: own}, daemon, ""},
		{"file: a group that reads", file, file, Facts{Mode: 0o640, GID: 54321}, root, ""},
		{"file: another's", file, file, Facts{Mode: 0o600, UID: 54321}, root, "/etc/rotator/rotator.yaml belongs to uid 54321, who may write it; fix it with: chown root /etc/rotator/rotator.yaml"},
		{"file: another's, for the daemon", file, file, Facts{Mode: 0o600, UID: other}, daemon, "fix it with: chown 990 /etc"},
		{"file: another's that he may not write now", file, file, Facts{Mode: 0o444, UID: other}, root, "belongs to"},
		{"file: the daemon's, for root", file, file, Facts{Mode: 0o600, UID: daemon}, root, "belongs to"},
		{"file: the daemon's, for the daemon", file, file, Facts{Mode: 0o600, UID: daemon}, daemon, ""},
		{"file: unmapped", file, file, Facts{Mode: 0o644, UID: nobody}, root, "belongs to"},
		{"file: read-only mount, another's", file, file, Facts{Mode: 0o644, UID: other, ReadOnly: true}, root, "belongs to"},
		{"file: read-only mount, everyone's", file, file, Facts{Mode: 0o666, ReadOnly: true}, root, "everyone"},
		{"file: sticky, everyone's", file, file, Facts{Mode: fs.ModeSticky | 0o666}, root, "everyone"},

		{"folder: everyone's", file, "/etc/rotator", Facts{Mode: dir | 0o777}, root, "/etc/rotator may be written by"},
		{"folder: everyone's, for the daemon", file, "/etc/rotator", Facts{Mode: dir | 0o777}, daemon, "/etc/rotator may be written by"},
		{"folder: a group", file, "/etc/rotator", Facts{Mode: dir | 0o775, GID: 54321}, root, "the group 54321 (mode 0775); fix it with: chmod go-w /etc/rotator"},
		{"folder: another's", file, "/etc/rotator", Facts{Mode: dir | 0o755, UID: other}, root, "belongs to"},
		{"folder: the daemon's, for root", file, "/etc/rotator", Facts{Mode: dir | 0o755, UID: daemon}, root, "belongs to"},
		{"folder: the daemon's, for the daemon", file, "/etc/rotator", Facts{Mode: dir | 0o700, UID: daemon}, daemon, ""},
		{"folder: sticky", file, "/etc/rotator", Facts{Mode: sticky | 0o777}, root, ""},
		{"folder: sticky, another's", file, "/etc/rotator", Facts{Mode: sticky | 0o777, UID: other}, root, "belongs to"},
		{"folder: read-only mount, everyone's", file, "/etc/rotator", Facts{Mode: dir | 0o777, ReadOnly: true}, root, ""},
		{"folder: read-only mount, another's", file, "/etc/rotator", Facts{Mode: dir | 0o755, UID: other, ReadOnly: true}, daemon, ""},
		{"parent: everyone's", file, "/etc", Facts{Mode: dir | 0o777}, root, "/etc may be written by"},
		{"parent: a group", file, "/etc", Facts{Mode: dir | 0o775, GID: 54321}, daemon, "/etc may be written by the group 54321"},
		{"parent: another's", file, "/etc", Facts{Mode: dir | 0o755, UID: other}, root, "/etc belongs to"},
		{"root folder: everyone's", file, "/", Facts{Mode: dir | 0o777}, root, "/ may be written by"},
		{"root folder: another's", file, "/", Facts{Mode: dir | 0o755, UID: other}, daemon, "/ belongs to"},

		{"/tmp without its sticky bit", tmp, "/tmp", Facts{Mode: dir | 0o777}, root, "/tmp may be written by"},
		{"in /tmp, another's", tmp, tmp, Facts{Mode: 0o600, UID: other}, root, "belongs to"},
		{"in /tmp, everyone's", tmp, tmp, Facts{Mode: 0o666}, root, "everyone"},
		{"below /tmp, another's folder", below, "/tmp/x", Facts{Mode: dir | 0o755, UID: other}, root, "/tmp/x belongs to"},
		{"below /tmp, everyone's folder", below, "/tmp/x", Facts{Mode: dir | 0o777}, root, "/tmp/x may be written by"},
		{"in /tmp, another's link", tmpLink, tmpLink, Facts{Mode: link | 0o777, UID: other}, root, "/tmp/link.yaml belongs to"},
		{"in /tmp, the daemon's link, for the daemon", tmpLink, tmpLink, Facts{Mode: link | 0o777, UID: daemon}, daemon, ""},
		{"another's link in a folder of root's", byLink, byLink, Facts{Mode: link | 0o777, UID: other}, root, ""},
		{"a link in everyone's folder", byLink, "/srv", Facts{Mode: dir | 0o777}, root, "/srv may be written by"},
		{"a link to everyone's folder", byFolder, "/etc/rotator", Facts{Mode: dir | 0o777}, root, "/etc/rotator may be written by"},
		{"a link to everyone's file", byLink, file, Facts{Mode: 0o666}, root, "everyone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			facts := maps.Clone(sound)
			if c.at != "" {
				facts[c.at] = c.is
			}
			err := Guard{System: fake{c.uid, facts, links}}.Check(c.look)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
		})
	}
}

// TestFolderOfAll: in a folder that is read as a whole no one else may create files, also with the sticky bit.
func TestFolderOfAll(t *testing.T) {
	t.Parallel()
	facts := map[string]Facts{"/": {Mode: dir | 0o755}, "/tmp": {Mode: sticky | 0o777}, "/tmp/x": {Mode: dir | 0o700}}
	g := Guard{System: fake{root, facts, nil}}
	if at, err := g.Folder("/tmp/x"); err != nil || at != "/tmp/x" {
		t.Errorf("%s, %v", at, err)
	}
	if _, err := g.Folder("/tmp"); err == nil || !strings.Contains(err.Error(), "everyone") {
		t.Errorf("the error is %v", err)
	}
	if _, err := g.Folder("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

// TestThisMachine: real files, and real owners where the test may give files away.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	path := filepath.Join(top, "it's a folder", "rotator.yaml")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600), os.Chmod(top, 0o755)); err != nil {
		t.Fatal(err)
	}
	var g Guard
	if err := g.Check(path); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, want string) {
		t.Helper()
		err := g.Check(path)
		if e := new(Error); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q", what, err, want)
		}
	}
	for _, at := range []string{path, filepath.Dir(path), top} {
		info, err := os.Lstat(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []fs.FileMode{0o020, 0o002} {
			if err := os.Chmod(at, info.Mode().Perm()|more); err != nil {
				t.Fatal(err)
			}
			refused(at, "chmod go-w ")
		}
		if err := os.Chmod(at, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 { // without root the table has these cases
			if err := os.Chown(at, int(other), -1); err != nil {
				t.Fatal(err)
			}
			refused(at, "chown root ")
			if err := os.Chown(at, 0, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.Check(path); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	refused("a name with a quote", `chmod go-w '`+top+`/it'\''s a folder/rotator.yaml'`)
}

// TestWhoMayWriteState: the folder of a journal or of a file store, on a machine and in a container.
func TestWhoMayWriteState(t *testing.T) {
	t.Parallel()
	sound := map[string]Facts{
		"/": {Mode: dir | 0o755}, "/var": {Mode: dir | 0o755}, "/var/lib": {Mode: dir | 0o755}, "/var/lib/rotator": {Mode: dir | 0o700, UID: daemon, GID: daemon},
		"/var/lib/rotator/secrets": {Mode: dir | 0o755, UID: daemon, GID: daemon}, "/tmp": {Mode: sticky | 0o777},
	}
	const state, secrets = "/var/lib/rotator", "/var/lib/rotator/secrets"
	for _, c := range []struct {
		name, look, at string
		is             Facts
		uid            uint32 // of the process, and its group
		want           string
	}{
		{"the daemon's", state, "", Facts{}, daemon, ""},
		{"the daemon's, for a command of root's", state, "", Facts{}, root, ""},
		{"the daemon's, for another", state, "", Facts{}, other, "belongs to"},
		{"below", secrets, "", Facts{}, daemon, ""},
		{"everyone's", state, state, Facts{Mode: dir | 0o777, UID: daemon}, daemon, "everyone"},
		{"everyone's, for root", state, state, Facts{Mode: dir | 0o777, UID: daemon}, root, "everyone"},
		{"sticky", "/tmp", "", Facts{}, daemon, "everyone"},
		{"sticky, a mount of its own", "/tmp", "/tmp", Facts{Mode: sticky | 0o777, Mount: true}, daemon, "everyone"},
		{"another group's", state, state, Facts{Mode: dir | 0o770, UID: daemon, GID: other}, daemon, "the group"},
		{"the daemon's group's", state, state, Facts{Mode: dir | 0o770, UID: daemon, GID: daemon}, daemon, ""},
		{"the daemon's group's, and a list that names others", state, state, Facts{Mode: dir | 0o770, UID: daemon, GID: daemon, ACL: true}, daemon, "access control list"},
		{"a volume for the pod's group", state, state, Facts{Mode: dir | fs.ModeSetgid | 0o775, GID: daemon, Mount: true}, daemon, ""},
		{"below a volume, for the pod's group", secrets, state, Facts{Mode: dir | fs.ModeSetgid | 0o775, GID: 2000, Mount: true}, daemon, ""},
		{"below a volume of another group", secrets, state, Facts{Mode: dir | fs.ModeSetgid | 0o775, GID: 2001, Mount: true}, daemon, "the group 2000"},
		{"below a volume that no group writes", secrets, state, Facts{Mode: dir | 0o755, GID: 2000, Mount: true}, daemon, "the group 2000"},
		{"a volume of everyone's", state, state, Facts{Mode: dir | 0o777, Mount: true}, daemon, ""},
		{"below a volume of everyone's", secrets, state, Facts{Mode: dir | 0o777, Mount: true}, daemon, ""},
		{"below a folder of everyone's", secrets, state, Facts{Mode: dir | 0o777, UID: daemon}, daemon, "everyone"},
		{"a volume of another", secrets, state, Facts{Mode: dir | 0o755, UID: other, Mount: true}, daemon, ""},
		{"not there", "/none", "", Facts{}, daemon, "not exist"},
	} {
		facts := maps.Clone(sound)
		if c.at != "" {
			facts[c.at] = c.is
		}
		if c.is.GID >= 2000 { // kubelet gives all that is in the volume to the group 2000
			facts[secrets] = Facts{Mode: dir | fs.ModeSetgid | 0o775, UID: daemon, GID: 2000}
		}
		err := Guard{System: fake{c.uid, facts, nil}}.State(c.look)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q", c.name, err, c.want)
		}
	}
}

// TestPrivateGroup: a group is a user's own when no one else can be in it.
func TestPrivateGroup(t *testing.T) {
	t.Parallel()
	const users, groups = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n",
		"root:x:0:\nada:x:1000:\nbob:x:1001:ada\nstaff:x:50:ada\n"
	for _, c := range []struct {
		name, users, groups, uid, gid string
		want                          bool
	}{
		{"of the user's name", users, groups, "1000", "1000", true},
		{"with the user for a member", users, strings.Replace(groups, "1000:", "1000:ada", 1), "1000", "1000", true},
		{"with another member", users, strings.Replace(groups, "1000:", "1000:ada,bob", 1), "1000", "1000", false},
		{"another's, with another member", users, groups, "1001", "1001", false},
		{"another's", users, groups, "1000", "1001", false},
		{"of many", users, groups, "1000", "50", false},
		{"of another name", users, strings.Replace(groups, "ada:x:1000", "users:x:1000", 1), "1000", "1000", false},
		{"primary of two", users + "eve:x:1002:1000::/:/bin/sh\n", groups, "1000", "1000", false},
		{"listed twice", users, groups + "admins:x:1000:bob\n", "1000", "1000", false},
		{"users of a directory", users + "+::::::\n", groups, "1000", "1000", false},
		{"groups of a directory", users, groups + "+:::\n", "1000", "1000", false},
		{"of nobody", users, groups, "1002", "1002", false},
		{"no group", users, "root:x:0:\n", "1000", "1000", false},
		{"no files", "", "", "1000", "1000", false},
	} {
		if got := privateGroup(c.users, c.groups, c.uid, c.gid); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestMounts: a kernel that does not report the number of a mount by statx reports it in /proc, and it is the same one.
func TestMounts(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/proc", "/dev", t.TempDir()} {
		by, told := mountByStatx(path)
		if got, ok := mountByProc(path); !ok || told && got != by {
			t.Errorf("%s: %d, %v; by statx %d, %v", path, got, ok, by, told)
		}
	}
}

// TestList: where an access control list lets another user write, a folder of the process's own group is refused.
func TestList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// linux/posix_acl_xattr.h: a version, and entries of a tag, rights and an id: owner, user 54321, group, mask, others.
	list := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0x31, 0xd4, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255}
	if err := errors.Join(os.Chmod(dir, 0o755), (Guard{}).State(dir)); err != nil {
		t.Fatal(err)
	}
	err := unix.Setxattr(dir, "system.posix_acl_access", list, 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Log("this file system has no access control lists") // the tables have these cases
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"State": Guard{}.State(dir), "Check": Guard{}.Check(dir)} {
		if err == nil || !strings.Contains(err.Error(), "access control list") {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}

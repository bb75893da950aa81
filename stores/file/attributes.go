package file

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// userPrefix begins the names of the extended attributes that users give to files: xattr(7).
const userPrefix = "user."

// ofKernel are attributes that the kernel itself sets on new files.
var ofKernel = []string{"security.ima", "security.evm"}

// attributes reads the file's extended attributes of its users, and lists the names of all others but the two that access
// keeps by themselves. A file system without attributes has none.
func attributes(file *os.File) (users map[string]string, others []string, err error) {
	names, err := listed(file)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		switch {
		case name == aclName || name == labelName || slices.Contains(ofKernel, name):
		case !strings.HasPrefix(name, userPrefix):
			others = append(others, name)
		default:
			value, err := attribute(file, name)
			if err != nil {
				return nil, nil, err
			}
			if users == nil {
				users = map[string]string{}
			}
			users[name] = string(value)
		}
	}
	slices.Sort(others)
	return users, others, nil
}

// listed are the names of the file's extended attributes that this process may know of.
func listed(file *os.File) ([]string, error) {
	buf := make([]byte, 64<<10) // the longest list
	n, err := unix.Flistxattr(int(file.Fd()), buf)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the extended attributes: %w", err)
	}
	return strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }), nil
}

// attach gives a new file the users' attributes of the one before it, and returns the names of those that it does not have
// then, sorted. It comes before the file's access, which may close the file to us. A key matters more than an attribute: what
// the file system refuses stops nothing.
func (a access) attach(file *os.File) (lost []string) {
	for _, name := range slices.Sorted(maps.Keys(a.attributes)) {
		if unix.Fsetxattr(int(file.Fd()), name, []byte(a.attributes[name]), 0) != nil {
			lost = append(lost, name)
		}
	}
	have, _ := listed(file) // what cannot be listed is not there
	for _, name := range a.others {
		if !slices.Contains(have, name) {
			lost = append(lost, name)
		}
	}
	slices.Sort(lost)
	return lost
}

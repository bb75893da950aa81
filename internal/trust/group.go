package trust

import (
	"slices"
	"strings"
)

// privateGroup reports whether a group is a user's own: it has the user's name, it is the primary group of this user and of no
// other one, and it has no other members. That is what pam_umask(8) goes by when it lets the group write what the user makes. users is
// the text of passwd(5), groups that of group(5). Of a user or a group that is kept elsewhere, such as in a directory, nothing is
// known, so that it is not private.
func privateGroup(users, groups, uid, gid string) bool {
	var names []string // of the user: an id can have several
	for line := range strings.Lines(users) {
		f := strings.Split(strings.TrimSpace(line), ":")
		switch {
		case strings.HasPrefix(line, "+"): // more users come from a directory
			return false
		case len(f) < 4 || f[3] != gid:
		case f[2] != uid:
			return false
		default:
			names = append(names, f[0])
		}
	}
	found := false
	for line := range strings.Lines(groups) {
		f := strings.Split(strings.TrimSpace(line), ":")
		switch {
		case strings.HasPrefix(line, "+"):
			return false
		case len(f) < 4 || f[2] != gid:
		case !slices.Contains(names, f[0]):
			return false
		default:
			found = true
			for _, member := range strings.Split(f[3], ",") {
				if member != "" && !slices.Contains(names, member) {
					return false
				}
			}
		}
	}
	return found
}

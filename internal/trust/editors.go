package trust

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
)

// Editors is a guard of one folder, which a group may write, and all that is below it. The folder itself belongs to root or to this
// process's user, as does every folder on the way to it, which the group may not write. In it, [Guard.Below] takes files and folders of
// any owner: who made them there was of the group, or of those who may change the folder anyway. What another group, everyone, or those whom
// an access control list names may write is refused as ever. The group is a name or a number; one that this machine does not know is
// an error.
func (g Guard) Editors(group string) (Guard, error) {
	id, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		of, lookupErr := user.LookupGroup(group)
		if lookupErr != nil {
			return g, fmt.Errorf("the group of its editors is not known on this machine: %w", lookupErr)
		}
		if id, err = strconv.ParseUint(of.Gid, 10, 32); err != nil {
			return g, err
		}
	}
	gid := uint32(id)
	g.editors = &gid
	return g, nil
}

// edited are the facts of a folder that editors may write, without what they may.
func (g Guard) edited(f Facts) Facts {
	if g.editors != nil && f.GID == *g.editors && !f.ACL && f.Mode.Type() != fs.ModeSymlink {
		f.Mode &^= 0o020
	}
	return f
}

// Below is Entry for what lies in a folder of editors: it may belong to any of them.
func (g Guard) Below(path string) error {
	f, err := g.system().Lstat(path)
	if err != nil {
		return err
	}
	if g.editors != nil {
		f.UID = g.system().UID()
	}
	return g.entry(path, f)
}

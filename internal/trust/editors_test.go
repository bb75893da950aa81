package trust

import (
	"errors"
	"maps"
	"os/user"
	"strings"
	"testing"
)

// TestEditors: a group may write one folder and what is in it, and nothing above it.
func TestEditors(t *testing.T) {
	t.Parallel()
	const editors uint32 = 4000
	sound := map[string]Facts{
		"/": {Mode: dir | 0o755}, "/etc": {Mode: dir | 0o755}, "/etc/p": {Mode: dir | 0o2775, GID: editors}, "/etc/link": {Mode: link | 0o777},
		"/etc/p/deep": {Mode: dir | 0o775, UID: other, GID: editors}, "/etc/p/a.yaml": {Mode: 0o664, UID: other, GID: editors},
	}
	for _, c := range []struct {
		name, at string
		is       Facts
		want     string // part of the error
	}{
		{"as it is meant", "", Facts{}, ""},
		{"the folder is another's", "/etc/p", Facts{Mode: dir | 0o775, UID: other, GID: editors}, "/etc/p belongs to"},
		{"the folder is another group's", "/etc/p", Facts{Mode: dir | 0o775, GID: other}, "/etc/p may be written by the group"},
		{"everyone may write the folder", "/etc/p", Facts{Mode: dir | 0o777, GID: editors}, "/etc/p may be written by everyone"},
		{"a sticky folder", "/etc/p", Facts{Mode: sticky | 0o777, GID: editors}, "/etc/p may be written by everyone"},
		{"a list names others", "/etc/p", Facts{Mode: dir | 0o775, GID: editors, ACL: true}, "access control list"},
		{"the group may write the folder above", "/etc", Facts{Mode: dir | 0o775, GID: editors}, "/etc may be written by the group"},
		{"the folder above is an editor's", "/etc", Facts{Mode: dir | 0o755, UID: other, GID: editors}, "/etc belongs to"},
		{"a file of an editor's own group", "/etc/p/a.yaml", Facts{Mode: 0o664, UID: other, GID: other}, "/etc/p/a.yaml may be written by the group"},
		{"a file that only its owner may write", "/etc/p/a.yaml", Facts{Mode: 0o644, UID: other, GID: other}, ""},
		{"a file that everyone may write", "/etc/p/a.yaml", Facts{Mode: 0o666, UID: other, GID: editors}, "/etc/p/a.yaml may be written by everyone"},
		{"a folder below of another group", "/etc/p/deep", Facts{Mode: dir | 0o775, UID: other, GID: other}, "/etc/p/deep may be written by the group"},
		{"a folder below with a list", "/etc/p/deep", Facts{Mode: dir | 0o775, UID: other, GID: editors, ACL: true}, "access control list"},
	} {
		for _, uid := range []uint32{root, daemon} {
			facts := maps.Clone(sound)
			if c.at != "" {
				facts[c.at] = c.is
			}
			g, err := Guard{System: fake{uid, facts, map[string]string{"/etc/link": "p"}}}.Editors("4000")
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range []string{"/etc/p", "/etc/link"} {
				_, err = g.Folder(way)
				err = errors.Join(err, g.Below("/etc/p/deep"), g.Below("/etc/p/a.yaml"))
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s, %s as %d: %v, want %q", c.name, way, uid, err, c.want)
				}
			}
			strict := Guard{System: fake{uid, facts, nil}}
			if _, err := strict.Folder("/etc/p"); err == nil {
				t.Errorf("%s: a folder that a group may write is taken without editors", c.name)
			}
		}
	}
}

// TestEditorsAreLookedUp: a group by name and by number, on this machine.
func TestEditorsAreLookedUp(t *testing.T) {
	t.Parallel()
	if _, err := (Guard{}).Editors("no-such-group"); err == nil {
		t.Error("a group that is not there")
	}
	of, err := user.LookupGroupId("0")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"0", of.Name} {
		g, err := Guard{}.Editors(group)
		if err != nil || *g.editors != 0 {
			t.Errorf("%s: %v", group, err)
		}
	}
}

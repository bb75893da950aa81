package file

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"rotator/internal/dotenv"
	"rotator/stores"
)

// stateFolder is the store's own folder in Dir. No target lies in it.
const stateFolder = ".rotator"

// place is where one target's files are.
type place struct {
	folders []string // from Dir to the target's folder
	name    string   // of the target in its folder
	field   string
	dotenv  bool // the file has lines of NAME=value
	pathID  string
	fieldID string
	access  access // what the target's options ask for
}

// locate checks the target's path and options: ErrInvalid.
func locate(t stores.Target) (place, error) {
	names := strings.Split(t.Path, "/")
	for _, name := range names {
		switch {
		case name == "" || name == "." || name == "..":
			return place{}, fmt.Errorf("%w: the path must be relative, without empty parts, \".\" and \"..\"", stores.ErrInvalid)
		case strings.HasPrefix(name, stateFolder):
			return place{}, fmt.Errorf("%w: names that begin with %s are the store's own", stores.ErrInvalid, stateFolder)
		case len(name) > 255 || strings.ContainsRune(name, 0):
			return place{}, fmt.Errorf("%w: a part of the path is no file name", stores.ErrInvalid)
		}
	}
	a, err := parseAccess(t.Options)
	if err != nil {
		return place{}, fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	format := t.Options["format"]
	switch {
	case format != "" && format != formatDotenv:
		return place{}, fmt.Errorf("%w: the only format to ask for is %s", stores.ErrInvalid, formatDotenv)
	case format != "" && !dotenv.Name(t.Field):
		return place{}, fmt.Errorf("%w: format %s needs a field that is a variable's name", stores.ErrInvalid, format)
	}
	last := len(names) - 1
	return place{folders: names[:last], name: names[last], field: t.Field, dotenv: format != "",
		pathID: hash(t.Path), fieldID: hash(t.Field), access: a}, nil
}

// hash names any text by 128 bits: two targets never share one.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func (p place) temp() string      { return stateFolder + "-" + p.pathID + ".tmp" } // a dot-file: globs pass it over
func (p place) stateTemp() string { return p.pathID + ".tmp" }
func (p place) former() string    { return p.pathID + "-" + p.fieldID + ".former" }

// staged returns the name of the attempt's staged value: ErrInvalid unless the attempt is of 1 to 64 ASCII letters,
// digits and hyphens, as ids are.
func (p place) staged(attempt string) (string, error) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
	if attempt == "" || len(attempt) > 64 || strings.Trim(attempt, allowed) != "" {
		return "", fmt.Errorf("%w: an attempt's id is of letters, digits and hyphens", stores.ErrInvalid)
	}
	return p.pathID + "-" + p.fieldID + "." + attempt + ".staged", nil
}

// lockOffset is the byte of the lock file that stands for the path. Two paths that share one only wait for each other.
func (p place) lockOffset() int64 {
	id, _ := hex.DecodeString(p.pathID) // of our own making
	return int64(binary.BigEndian.Uint64(id) >> 2)
}

// access is who may do what with a file: -1 and nil stand for "as it is".
type access struct {
	uid, gid, mode int
	acl            []byte // the POSIX access control list, in the kernel's form
	label          []byte // SELinux's, in the kernel's form
	// attributes are the user's own extended attributes: name → value. others are the names of those that are not kept.
	attributes map[string]string
	others     []string
}

var (
	asIs    = access{uid: -1, gid: -1, mode: -1}
	private = access{uid: -1, gid: -1, mode: 0o600}
)

// over returns a where it says something, and below otherwise. A file that is nowhere described is private.
func (a access) over(below access) access {
	pick := func(top, bottom int) int {
		if top < 0 {
			return bottom
		}
		return top
	}
	out := access{uid: pick(a.uid, below.uid), gid: pick(a.gid, below.gid), mode: pick(a.mode, below.mode), acl: below.acl, label: below.label,
		attributes: below.attributes, others: below.others}
	out.mode = pick(out.mode, private.mode)
	return out
}

// parseAccess reads a target's options: owner and group are names or numbers, mode is octal. What is absent is "as it is".
func parseAccess(options map[string]string) (access, error) {
	a := asIs
	for name, text := range options {
		var err error
		switch name {
		case "owner":
			a.uid, err = lookup(text, func(name string) (string, error) {
				u, err := user.Lookup(name)
				if err != nil {
					return "", err
				}
				return u.Uid, nil
			})
		case "group":
			a.gid, err = lookup(text, func(name string) (string, error) {
				g, err := user.LookupGroup(name)
				if err != nil {
					return "", err
				}
				return g.Gid, nil
			})
		case "mode":
			var mode uint64
			if mode, err = strconv.ParseUint(text, 8, 32); err != nil || mode > 0o777 || mode&0o400 == 0 {
				err = fmt.Errorf("mode is three octal digits by which the owner can read, such as 0640")
			}
			a.mode = int(mode)
		case "format": // see locate
		default:
			err = fmt.Errorf("a file target has the options owner, group, mode and format, not %q", name)
		}
		if err != nil {
			return asIs, err
		}
	}
	return a, nil
}

// lookup returns the id that text is, or that it names.
func lookup(text string, id func(name string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return int(n), nil
	}
	number, err := id(text)
	if err != nil {
		return -1, err
	}
	n, err := strconv.ParseUint(number, 10, 31)
	return int(n), err
}

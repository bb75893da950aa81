// Package dotenv reads and replaces one variable of a .env file and leaves the other lines as they are.
//
// Such files have no standard. Programs read them with a dotenv library, systemd reads them as EnvironmentFile=, and shells
// run them, and they differ in details: systemd ignores lines with `export`, takes a comment behind a value for part of
// it, and joins a line that ends in a backslash with the next one. So a file is used only where these readers agree about
// the one variable, whatever they make of the others: [ErrAmbiguous] says where they do not. What is written is read
// alike by all of them.
//
// The sources of what readers do: systemd.exec(5) and src/basic/env-file.c of systemd; the README files of the dotenv
// libraries of Node.js, Ruby, Python and Go.
// No error of this package quotes a value.
package dotenv

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	// ErrNotFound means that the file has no such variable, or it is empty.
	ErrNotFound = errors.New("no such variable in the .env file")
	// ErrAmbiguous means that readers of such files disagree about what the variable holds.
	ErrAmbiguous = errors.New("readers of .env files disagree about it")
	// ErrNotFile means that the text is no .env file: a line is neither empty, a comment nor NAME=value.
	ErrNotFile = errors.New("not a .env file")
	// ErrNotText means that a value cannot be written so that every reader takes it as it is.
	ErrNotText = errors.New("a value that .env files cannot hold")
)

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Name reports whether a variable can have this name: ASCII letters, digits and underscores, with no digit first.
func Name(s string) bool { return nameForm.MatchString(s) }

// Get returns the value of the variable. The errors are ErrNotFound, ErrAmbiguous and ErrNotFile.
func Get(doc []byte, name string) (string, error) {
	found, err := find(doc, name)
	if err != nil {
		return "", err
	}
	if len(found) == 0 || found[0].value == "" {
		return "", ErrNotFound
	}
	return found[0].value, nil
}

// Set returns a copy of doc in which the variable has the given value. Every other line is the same, byte for byte. The
// variable's own line keeps `export`, its quotes and its line end; a comment behind the value moves to a line of its own
// above, since systemd would take it for part of the value. A missing variable is added at the end, in the file's style.
// The errors are ErrAmbiguous, ErrNotFile and ErrNotText.
func Set(doc []byte, name, value string) ([]byte, error) {
	if !Name(name) || value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r >= 0x7f || strings.ContainsRune("'\\`", r) }) {
		return nil, ErrNotText
	}
	found, err := find(doc, name)
	if err != nil {
		return nil, err
	}
	next := appended(doc, name, value)
	if len(found) > 0 {
		next = bytes.Clone(doc)
		for _, a := range slices.Backward(found) { // from the end, so that offsets stay true
			next = a.replaced(next, value)
		}
	}
	if back, err := Get(next, name); err != nil || back != value {
		// A file that ends within an open quote or a joined line is one case.
		return nil, fmt.Errorf("%w: what is written would not be read back", ErrAmbiguous)
	}
	return next, nil
}

// replaced returns doc with this assignment's value replaced.
func (a assignment) replaced(doc []byte, value string) []byte {
	text := a.quote + value + a.quote
	if a.quote != "'" && !plain(value) {
		text = "'" + value + "'"
	}
	indent := doc[a.start:a.nameAt]
	if i := bytes.Index(indent, []byte("export")); i >= 0 {
		indent = indent[:i]
	}
	var above []byte
	if a.comment != "" {
		above = slices.Concat(indent, []byte(a.comment+a.newline(doc)))
	}
	return slices.Concat(doc[:a.start], above, doc[a.start:a.valueAt], []byte(text), doc[a.end:])
}

// newline is how the assignment's line ends.
func (a assignment) newline(doc []byte) string {
	if bytes.HasPrefix(doc[a.end:], []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// plain reports whether no reader treats a byte of the value in a way of its own, with or without double quotes.
func plain(value string) bool {
	return !strings.ContainsAny(value, " \"#$!;&|<>(){}*?[]~")
}

// appended returns doc with one more line.
func appended(doc []byte, name, value string) []byte {
	line, end := name+"="+value, "\n"
	if !plain(value) {
		line = name + "='" + value + "'"
	}
	others := scanDotenv(doc).assignments
	if len(others) > 0 && !slices.ContainsFunc(others, func(a assignment) bool { return !a.export }) {
		line = "export " + line // a shell that runs the file hands only these on
	}
	if bytes.Contains(doc, []byte("\r\n")) {
		end = "\r\n"
	}
	if len(doc) > 0 && doc[len(doc)-1] != '\n' {
		line = end + line
	}
	return slices.Concat(doc, []byte(line+end))
}

// find returns where the variable is, in order; all of them hold one value.
func find(doc []byte, name string) ([]assignment, error) {
	if bytes.HasPrefix(doc, []byte("\xef\xbb\xbf")) {
		return nil, fmt.Errorf("%w: the file begins with a byte order mark, which systemd does not skip", ErrAmbiguous)
	}
	if bytes.IndexByte(doc, 0) >= 0 {
		return nil, fmt.Errorf("%w: it has a zero byte", ErrNotFile)
	}
	if bytes.Count(doc, []byte("\r")) != bytes.Count(doc, []byte("\r\n")) {
		return nil, fmt.Errorf("%w: a line ends in a carriage return alone", ErrAmbiguous)
	}
	scan := scanDotenv(doc)
	if scan.bad != 0 {
		return nil, fmt.Errorf("%w: line %d is neither a comment nor NAME=value", ErrNotFile, scan.bad)
	}
	ours := func(a assignment) bool { return a.name == name }
	found := only(scan.assignments, ours)
	for _, a := range found {
		if a.unclear != "" {
			return nil, fmt.Errorf("%w: line %d %s", ErrAmbiguous, a.line, a.unclear)
		}
		if a.value != found[0].value {
			return nil, fmt.Errorf("%w: lines %d and %d give it different values; remove one", ErrAmbiguous, found[0].line, a.line)
		}
	}
	// systemd ignores lines with export; where it reads others, it must see the same ones.
	seen := only(scanSystemd(doc), ours)
	for _, a := range found {
		if i := slices.IndexFunc(seen, func(s assignment) bool { return s.nameAt == a.nameAt }); i >= 0 {
			seen = slices.Delete(seen, i, i+1)
		} else if !a.export {
			return nil, fmt.Errorf("%w: line %d is part of another value to systemd: a backslash ends a line above, or a quote is open", ErrAmbiguous, a.line)
		}
	}
	if len(seen) > 0 {
		return nil, fmt.Errorf("%w: only systemd sees it on line %d", ErrAmbiguous, seen[0].line)
	}
	return found, nil
}

func only(all []assignment, want func(assignment) bool) []assignment {
	return slices.DeleteFunc(all, func(a assignment) bool { return !want(a) })
}

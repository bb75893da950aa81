package policies

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"rotator/internal/trust"
)

// maxDepth is how many folders deep policies are looked for.
const maxDepth = 8

// source is a file to read: its path in the listing's root, and how problems name it.
type source struct{ path, shown string }

// listing is what a folder holds.
type listing struct {
	guard    trust.Guard
	folder   *Folder
	overlaps bool     // another folder of the configuration lies in it, or it in that one
	root     *os.Root // the folder; nothing outside of it is opened. nil: it could not be opened
	at       string   // the folder's path, without links
	files    []source
	folders  []string // that were listed, the first one too
	problems Problems // folders that could not be listed: they may hold any policy
	// generations are the folders that a ConfigMap's ..data led to: the link → the folder's name.
	generations map[string]string
}

// dataLink is the link that the visible files of a ConfigMap's folder lead through.
const dataLink = "..data"

// list finds the files of a folder and of those below it, for the caller to close. Names that begin with a dot are left out,
// and links are not followed: they could lead to files that the daemon may read and the author of a policy may not. In a
// ConfigMap's folder every visible file is a link through ..data, which is switched to a new folder when the map changes:
// that one link is followed once, so that all files are of one generation.
func list(folder *Folder, guard trust.Guard) *listing {
	dir := folder.Dir
	l := &listing{guard: guard, folder: folder, generations: make(map[string]string)}
	var err error
	if folder.Editors != "" {
		l.guard, err = guard.Editors(folder.Editors)
	}
	at := ""
	if err == nil {
		at, err = l.guard.Folder(dir)
	}
	if err == nil {
		l.at = at
		l.root, err = os.OpenRoot(at)
	}
	if err != nil {
		l.problems = Problems{l.unreadable(dir, "folder", err)}
		return l
	}
	l.add(".", dir, 0)
	return l
}

// unreadable is the problem of a file or a folder that cannot be used.
func (l *listing) unreadable(shown, kind string, err error) Problem {
	if open := (*trust.Error)(nil); errors.As(err, &open) {
		return Problem{File: shown, What: open.What, Want: open.Fix}
	}
	want := "a readable " + kind
	if kind == "folder" {
		want += " of policies"
	}
	return Problem{File: shown, What: "the " + kind + " cannot be read: " + reason(err), Want: want}
}

// close ends what list began. No file is read after it.
func (l *listing) close() {
	if l.root != nil {
		_ = l.root.Close() // only read
	}
}

// add lists the folder at path, which problems name shown.
func (l *listing) add(path, shown string, depth int) {
	from, err := l.generation(path)
	var entries []os.DirEntry
	if err == nil {
		entries, err = fs.ReadDir(l.root.FS(), from)
	}
	switch {
	case err != nil:
		l.problems = append(l.problems, l.unreadable(shown, "folder", err))
		return
	case depth == maxDepth:
		l.problems = append(l.problems, Problem{File: shown, What: fmt.Sprintf("the folder lies more than %d folders deep", maxDepth), Want: "fewer folders in one another"})
		return
	}
	l.folders = append(l.folders, shown)
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		at, as := filepath.Join(from, name), filepath.Join(shown, name)
		switch ext := filepath.Ext(name); {
		case e.IsDir():
			if err := l.guard.Below(filepath.Join(l.at, at)); err != nil {
				l.problems = append(l.problems, l.unreadable(as, "folder", err))
				continue
			}
			l.add(at, as, depth+1)
		case ext == ".yaml" || ext == ".yml":
			l.files = append(l.files, source{at, as})
		case e.Type()&os.ModeSymlink != 0:
			if info, err := os.Stat(filepath.Join(l.at, at)); err != nil || info.IsDir() { // it may have been meant as a folder of policies
				l.problems = append(l.problems, linked(as))
			}
		}
	}
}

// linked is the problem of a link in a folder of policies.
func linked(shown string) Problem {
	return Problem{File: shown, What: "it is a link, and links are not followed", Want: "the file or the folder itself, or no link"}
}

// generation is the folder that holds what a folder shows: itself, or what a ConfigMap's ..data leads to.
func (l *listing) generation(path string) (string, error) {
	data := filepath.Join(path, dataLink)
	info, err := l.root.Lstat(data)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		return path, nil
	}
	name, err := l.root.Readlink(data)
	if err != nil {
		return "", err
	}
	if name != filepath.Base(name) || !filepath.IsLocal(name) {
		return "", errors.New(dataLink + " leads out of the folder")
	}
	l.generations[data] = name
	from := filepath.Join(path, name)
	if info, err := l.root.Lstat(from); err != nil || !info.IsDir() {
		return "", cmp.Or(err, errors.New(dataLink+" leads to no folder"))
	}
	return from, l.guard.Below(filepath.Join(l.at, from))
}

// superseded reports whether a ConfigMap changed since it was listed: the folder that was read may be gone.
func (l *listing) superseded() bool {
	for data, name := range l.generations {
		if now, err := l.root.Readlink(data); err == nil && now != name {
			return true
		}
	}
	return false
}

// read returns what a file holds. It is called by several goroutines.
func (l *listing) read(s source) ([]byte, *Problem) {
	problem := func(err error) *Problem {
		p := l.unreadable(s.shown, "file", err)
		return &p
	}
	info, err := l.root.Lstat(s.path)
	switch {
	case err != nil:
		return nil, problem(err)
	case info.Mode()&os.ModeSymlink != 0:
		p := linked(s.shown)
		return nil, &p
	case !info.Mode().IsRegular(): // opening a pipe would wait forever
		return nil, &Problem{File: s.shown, What: "it is not a file", Want: "a file, or another name for it"}
	}
	if err := l.guard.Below(filepath.Join(l.at, s.path)); err != nil {
		return nil, problem(err)
	}
	f, err := l.root.OpenFile(s.path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe in its place would wait forever
	if err != nil {
		return nil, problem(err)
	}
	defer func() { _ = f.Close() }() // only read
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		return nil, problem(cmp.Or(err, errors.New("it was replaced while it was opened")))
	}
	var data bytes.Buffer
	data.Grow(int(min(info.Size(), maxFile)) + bytes.MinRead)
	if _, err := data.ReadFrom(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, problem(err)
	}
	return data.Bytes(), nil
}

// reason is an error of the operating system without the path, which the problem names already.
func reason(err error) string {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

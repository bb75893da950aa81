package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxDepth is how many folders deep policies are looked for.
const maxDepth = 8

// source is a file to read: where it is, and how problems name it.
type source struct{ path, shown string }

// listing is what a folder holds.
type listing struct {
	files    []source
	folders  []string // that were listed, the first one too
	problems Problems // folders that could not be listed: they may hold any policy
}

// list finds the files of a folder and of those below it. Names that begin with a dot are left out. In a ConfigMap's folder
// every visible file is a symlink through ..data, which is switched to a new folder when the map changes: the link is
// followed once, so that all files are of one generation.
func list(dir string) listing {
	var l listing
	l.add(dir, dir, nil)
	return l
}

// add lists the folder at path, which problems name shown. above are the folders that it lies in.
func (l *listing) add(path, shown string, above []os.FileInfo) {
	from := path
	if generation, err := os.Readlink(filepath.Join(path, "..data")); err == nil {
		from = generation
		if !filepath.IsAbs(generation) {
			from = filepath.Join(path, generation)
		}
	}
	fail := func(what, want string) { l.problems = append(l.problems, Problem{File: shown, What: what, Want: want}) }
	info, err := os.Stat(from)
	if err == nil && slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, info) }) {
		fail("the folder lies in itself", "no symbolic link to a folder above")
		return
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(from)
	}
	switch {
	case err != nil:
		fail("the folder cannot be read: "+reason(err), "a readable folder of policies")
		return
	case len(above) == maxDepth:
		fail(fmt.Sprintf("the folder lies more than %d folders deep", maxDepth), "fewer folders in one another")
		return
	}
	l.folders = append(l.folders, shown)
	above = append(slices.Clip(above), info)
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		at, as := filepath.Join(from, name), filepath.Join(shown, name)
		switch ext := filepath.Ext(name); {
		case isFolder(at, e):
			l.add(at, as, above)
		case ext == ".yaml" || ext == ".yml":
			l.files = append(l.files, source{at, as})
		case e.Type()&os.ModeSymlink != 0:
			if _, err := os.Stat(at); err != nil { // it may be a folder of policies
				l.problems = append(l.problems, Problem{File: as, What: "the link leads nowhere: " + reason(err), Want: "a folder that can be reached, or no link"})
			}
		}
	}
}

// isFolder reports whether an entry is a folder, or a link to one.
func isFolder(path string, e os.DirEntry) bool {
	if e.Type()&os.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (s source) read() ([]byte, *Problem) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, &Problem{File: s.shown, What: "the file cannot be read: " + reason(err), Want: "a readable file"}
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, &Problem{File: s.shown, What: "it is not a file", Want: "a file, or another name for it"}
	}
	f, err := os.Open(s.path)
	if err == nil {
		defer f.Close()
		var data bytes.Buffer
		data.Grow(int(min(info.Size(), maxFile)) + bytes.MinRead)
		if _, err = data.ReadFrom(io.LimitReader(f, maxFile+1)); err == nil {
			return data.Bytes(), nil
		}
	}
	return nil, &Problem{File: s.shown, What: "the file cannot be read: " + reason(err), Want: "a readable file"}
}

// reason is an error of the operating system without the path, which the problem names already.
func reason(err error) string {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

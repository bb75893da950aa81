package file

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"rotator/stores"
)

var _ stores.Permissions = Options{}

// Permissions implements stores.Permissions: the folders that the user whom Rotator runs as must be able to write in, in
// the form of systemd-tmpfiles, and what the files ask for. Only Dir counts.
func (o Options) Permissions(targets []stores.Target) ([]stores.Document, error) {
	folders := []string{o.Dir + "/" + stateFolder}
	var files []string
	for _, t := range targets {
		p, err := locate(withoutAccess(t)) // a user need not exist here
		if err != nil {
			return nil, fmt.Errorf("permissions for %s: %w", t.Path, err)
		}
		folders = append(folders, filepath.Join(append([]string{o.Dir}, p.folders...)...))
		if line := asked(t); line != "" {
			files = append(files, line)
		}
	}
	slices.Sort(folders)
	slices.Sort(files)
	var b strings.Builder
	b.WriteString("# What is staged and former values lie in .rotator; the other folders are those of the targets.\n")
	for _, folder := range slices.Compact(folders) {
		mode := "0755"
		if filepath.Base(folder) == stateFolder {
			mode = "0700"
		}
		fmt.Fprintf(&b, "d %s %s rotator rotator -\n", escape(folder), mode)
	}
	for _, line := range slices.Compact(files) {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	return []stores.Document{{Format: "tmpfiles.d", Text: b.String(), About: []string{
		"Folders for systemd-tmpfiles, as /etc/tmpfiles.d/NAME.conf. The user rotator is the packages'; put the one that you have.",
		"Under systemd the service may write below /var/lib/rotator; elsewhere it takes ReadWritePaths=" + o.Dir + ".",
		"A file keeps its owner, group and mode; a new one is 0600 and rotator's. To keep or give another owner takes CAP_CHOWN, another group membership in it.",
	}}}, nil
}

// ReadPermissions implements stores.Permissions: the files that the user whom Rotator runs as must be able to read.
func (o Options) ReadPermissions(targets []stores.Target) ([]stores.Document, error) {
	var lines []string
	for _, t := range targets {
		p, err := locate(withoutAccess(t))
		if err != nil {
			return nil, fmt.Errorf("permissions for %s: %w", t.Path, err)
		}
		at := o.Dir
		for _, folder := range p.folders {
			lines = append(lines, "enter  "+at+"\n")
			at = filepath.Join(at, folder)
		}
		lines = append(lines, "enter  "+at+"\n", "read   "+filepath.Join(at, p.name)+"\n")
	}
	slices.Sort(lines)
	return []stores.Document{{Format: "text", Text: strings.Join(slices.Compact(lines), ""), About: []string{
		"Files that the user whom Rotator runs as must be able to read, and the folders on the way to them. Nothing is written, and no folder is made.",
		"For one file: `setfacl -m u:rotator:r FILE`, and `setfacl -m u:rotator:x FOLDER` for each folder.",
	}}}, nil
}

// withoutAccess is the target without its options.
func withoutAccess(t stores.Target) stores.Target {
	t.Options = nil
	return t
}

// asked says what the target's options make of the file, "" when there are none.
func asked(t stores.Target) string {
	var parts []string
	for _, option := range []string{"owner", "group", "mode"} {
		if v := t.Options[option]; v != "" {
			parts = append(parts, option+" "+v)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return t.Path + ": " + strings.Join(parts, ", ")
}

// escape writes a path as tmpfiles.d(5) reads it: in quotes, with its specifiers doubled.
func escape(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t'\"\\") {
		path = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
	}
	return path
}

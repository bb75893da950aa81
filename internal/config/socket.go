package config

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// topLine is a line of a file of YAML that gives a top-level key a plain or quoted value.
var topLine = regexp.MustCompile(`(?m)^(state|socket):[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^#\n]*?))[ \t]*(?:#.*)?$`)

// SocketOf is the socket that a configuration names, as far as a file that is broken elsewhere says: ok is false where the file
// cannot be read, or names none. A daemon that began before the file was broken may answer there.
func SocketOf(file string) (socket string, ok bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", false
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", false
	}
	values := map[string]string{"state": "sqlite:/var/lib/rotator/rotator.db"}
	for _, m := range topLine.FindAllStringSubmatch(string(data), -1) {
		values[m[1]] = m[2] + m[3] + m[4]
	}
	path, sqlite := strings.CutPrefix(values["state"], "sqlite:")
	switch {
	case values["socket"] != "":
		socket = values["socket"]
	case sqlite && path != "" && !strings.HasPrefix(path, ":"):
		socket = path + ".sock"
	}
	return absolute(filepath.Dir(abs), socket), socket != ""
}

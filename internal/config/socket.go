package config

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf16"
)

// topLine is a line of a file of YAML that gives a top-level key a plain or quoted value.
var topLine = regexp.MustCompile(`(?m)^(state|socket):[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^#\n]*?))[ \t]*(?:#.*)?$`)

// SocketOf is the socket that a configuration names, as far as a file that is broken elsewhere says: ok is false where the file
// cannot be read, others may write it, or it names none. A daemon that began before the file was broken may answer there.
func SocketOf(file string, env Env) (socket string, ok bool) {
	if env.Guard.Check(file) != nil { // whoever wrote it would be told the orders
		return "", false
	}
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
	for _, m := range topLine.FindAllStringSubmatch(plain(data), -1) {
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

// plain is a file's text as an editor on another system may have saved it: without a byte-order mark, as UTF-8, and with
// newlines alone at the ends of lines.
func plain(data []byte) string {
	text := string(data)
	for mark, order := range map[string]binary.ByteOrder{"\xff\xfe": binary.LittleEndian, "\xfe\xff": binary.BigEndian} {
		if strings.HasPrefix(text, mark) {
			units := make([]uint16, len(data)/2)
			for i := range units {
				units[i] = order.Uint16(data[2*i:])
			}
			text = string(utf16.Decode(units))
		}
	}
	text = strings.TrimPrefix(text, "\uFEFF")
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
}

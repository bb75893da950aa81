package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rotator/rotation/reason"
)

// said finds a command between backticks or at the beginning of a line of a block.
var said = regexp.MustCompile("(?m)(?:`|^ *|-- /usr/bin/|as_rotator )rotator ([a-z][^`#<>;\n]*)")

// TestCommandsInDocs: every command that a page or a reason tells people to use is one, with all of its flags.
func TestCommandsInDocs(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md", "../../deploy/helm/rotator/templates/NOTES.txt") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		texts[page] = string(b)
	}
	for _, r := range reason.All {
		texts["reason "+string(r.Reason)] = "`" + strings.TrimSuffix(r.Do, ".") + "`"
	}
	n := 0
	for where, text := range texts {
		for _, found := range said.FindAllStringSubmatch(text, -1) {
			n++
			command, _, _ := strings.Cut(found[1], " |")
			words := strings.Fields(strings.TrimRight(command, " …\\"))
			root := (&cli{}).root()
			root.InitDefaultHelpCmd()
			root.InitDefaultCompletionCmd()
			c, rest, err := root.Find(words)
			if err != nil || c == root {
				t.Errorf("%s: rotator %s: there is no such command: %v", where, command, err)
				continue
			}
			for _, word := range rest {
				if !strings.HasPrefix(word, "-") || word == "-" {
					continue
				}
				for _, flag := range strings.Split(word, "|") { // --a|--b
					name, _, _ := strings.Cut(strings.TrimLeft(flag, "-"), "=")
					name = strings.TrimRight(name, ".,;:)")
					if c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil && (len(name) > 1 || c.Flags().ShorthandLookup(name) == nil) {
						t.Errorf("%s: rotator %s: there is no flag %s", where, command, flag)
					}
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d commands were found", n)
	}
	t.Logf("%d commands", n)
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// TestManPages writes a manual page for each command, into the folder that $ROTATOR_MAN_DIR names for those who make a
// release. It is a test so that what writes the pages is not part of the program.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("ROTATOR_MAN_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	root := (&app{}).root()
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "rotator", Manual: "Rotator"}, dir); err != nil {
		t.Fatal(err)
	}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-")
		page, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil || !bytes.Contains(page, []byte(".SH NAME\n"+name+" - ")) {
			t.Errorf("%s has no page of its own: %v\n%.200s", c.CommandPath(), err, page)
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				check(sub)
			}
		}
	}
	check(root)
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"rotator/internal/pages"
)

// TestManPages writes a manual page for each command, and for each kind of file that people write, into the folder that
// $ROTATOR_MAN_DIR names for those who make a release. It is a test so that what writes the pages is not part of the program.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("ROTATOR_MAN_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	root := (&cli{}).root()
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "rotator", Manual: "Rotator"}, dir); err != nil {
		t.Fatal(err)
	}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-")
		page := text(t, filepath.Join(dir, name+".1"))
		if !strings.Contains(page, ".SH NAME\n"+name+" - ") {
			t.Errorf("%s has no page of its own:\n%.200s", c.CommandPath(), page)
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				check(sub)
			}
		}
	}
	check(root)
	filePages(t, dir)
	units, err := filepath.Glob("../../deploy/systemd/rotator*.*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, unit := range units {
		for _, page := range regexp.MustCompile(`man:(\S+)\((\d)\)`).FindAllStringSubmatch(text(t, unit), -1) {
			n++
			if _, err := os.Stat(filepath.Join(dir, page[1]+"."+page[2])); err != nil {
				t.Errorf("%s names a page that there is not: %v", unit, err)
			}
		}
	}
	if n < 4 {
		t.Errorf("the units name %d pages", n)
	}
}

// filePages writes and checks the pages of section 5: what docs/configuration.md says before its keys, the keys as the
// schema has them, and an example.
func filePages(t *testing.T, dir string) {
	t.Helper()
	head, _, ok := strings.Cut(text(t, "../../docs/configuration.md"), "\n## ")
	_, head, titled := strings.Cut(head, "\n\n")
	if !ok || !titled {
		t.Fatal("docs/configuration.md does not begin as it did")
	}
	for _, f := range []struct{ name, about, head, schema, example, also string }{
		{"rotator.yaml", "configuration of Rotator", head, "../../internal/config/rotator.schema.json", "../../deploy/systemd/rotator.yaml", "rotator-policy"},
		{"rotator-policy", "when an xAI API key is rotated, and where it goes", "A rotation policy is a YAML document, one of several in a file where " +
			"that is handy, in the folder that **rotator.yaml**(5) names. Files are read again when they change; one with a problem changes nothing.",
			"../../policies/policy.schema.json", "../../policies/examples/chat-prod.yaml", "rotator.yaml"},
	} {
		var page strings.Builder
		fmt.Fprintf(&page, "%s\n\n# KEYS\n", f.head)
		keys := pages.Keys(t, []byte(text(t, f.schema)))
		for _, k := range keys {
			fmt.Fprintf(&page, "**%s**\n: %s\n\n", k.Path, k.About)
		}
		fmt.Fprintf(&page, "# EXAMPLE\n```\n%s```\n\n# SEE ALSO\n**rotator**(1), **rotator-check**(1), **%s**(5)\n", text(t, f.example), f.also)
		file := &cobra.Command{Use: f.name, Short: f.about, Long: page.String(), DisableFlagsInUseLine: true, DisableAutoGenTag: true}
		file.InitDefaultHelpFlag()
		file.Flags().Lookup("help").Hidden = true // a file has no options
		if err := doc.GenManTree(file, &doc.GenManHeader{Section: "5", Source: "rotator", Manual: "Rotator"}, dir); err != nil {
			t.Fatal(err)
		}
		made := text(t, filepath.Join(dir, f.name+".5"))
		for _, k := range keys {
			if !strings.Contains(made, "\n.TP\n\\fB"+k.Path+"\\fP\n") {
				t.Errorf("%s(5) does not tell of %s", f.name, k.Path)
			}
		}
		if strings.Contains(made, ".SH OPTIONS") {
			t.Errorf("%s(5) reports options", f.name)
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

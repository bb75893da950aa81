package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const retiredWords = "docs/retired-words.txt"

// TestRetiredWords keeps words that were given up out of code, docs, help and chart.
func TestRetiredWords(t *testing.T) {
	t.Parallel()
	retired := readRetired(t)
	if len(retired) < 20 {
		t.Fatalf("only %d retired words were read", len(retired))
	}
	for _, file := range texts(t) {
		for n, line := range lines(t, file) {
			for _, word := range foundIn(retired, line) {
				t.Errorf("%s:%d: %q is retired; write instead: %s", file, n+1, word, retired[word])
			}
		}
	}
}

// TestRetiredWordsAreFound shows that the check finds a word in a sentence, in an identifier and over two words.
func TestRetiredWordsAreFound(t *testing.T) {
	t.Parallel()
	retired := map[string]string{"anew": "again", "all the same": "anyway", "look-up": "lookup"}
	for line, want := range map[string][]string{
		"// It begins Anew.":        {"anew"},
		"func TestStartsAnew(t)":    {"anew"},
		"anew_at = 1":               {"anew"},
		"It runs all the same.":     {"all the same"},
		"a look-up, or a lookup":    {"look-up"},
		"a newt in a renewed manew": nil,
	} {
		if got := foundIn(retired, line); !slices.Equal(got, want) {
			t.Errorf("%q: found %q, want %q", line, got, want)
		}
	}
}

// readRetired returns what the list says: word → what to write instead.
func readRetired(t *testing.T) map[string]string {
	t.Helper()
	retired := make(map[string]string)
	for n, line := range lines(t, retiredWords) {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, instead, ok := strings.Cut(line, ": ")
		if !ok || instead == "" || word != strings.ToLower(word) || retired[word] != "" {
			t.Errorf("%s:%d: want a new word in lower case, a colon, and what to write instead", retiredWords, n+1)
		}
		retired[word] = instead
	}
	return retired
}

// foundIn returns the retired words of a line, sorted.
func foundIn(retired map[string]string, line string) []string {
	var found []string
	plain := " " + strings.Join(wordsOf(line), " ") + " "
	for word := range retired {
		if strings.Contains(plain, " "+word+" ") {
			found = append(found, word)
		}
	}
	slices.Sort(found)
	return found
}

// wordsOf returns the words of a line in lower case; those of an identifier one by one.
func wordsOf(line string) []string {
	runes := []rune(line)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case unicode.IsUpper(r) && i > 0 && unicode.IsLower(runes[i-1]):
			b.WriteByte(' ')
		case !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '\'':
			r = ' '
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}

// TestProse: no sentence of the docs is too long to read once, and no word is there twice in a row.
func TestProse(t *testing.T) {
	t.Parallel()
	const most = 40
	twice := regexp.MustCompile(`(?i)\b(a|an|and|are|be|for|in|is|it|not|of|on|or|the|to|was|with) (a|an|and|are|be|for|in|is|it|not|of|on|or|the|to|was|with)\b`)
	for _, file := range texts(t) {
		if !strings.HasSuffix(file, ".md") {
			continue
		}
		for _, said := range sentences(lines(t, file)) {
			if n := len(strings.Fields(said)); n > most {
				t.Errorf("%s: a sentence has %d words, more than %d: %s", file, n, most, said)
			}
			for _, m := range twice.FindAllStringSubmatch(said, -1) {
				if strings.EqualFold(m[1], m[2]) {
					t.Errorf("%s: %q in %q", file, m[0], said)
				}
			}
		}
	}
}

// sentences returns the sentences of a page's paragraphs and lists, without code, tables and headings.
func sentences(page []string) []string {
	var prose strings.Builder
	code := false
	for _, line := range page {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "```") {
			code = !code
		}
		if code || text == "" || strings.HasPrefix(text, "```") || strings.HasPrefix(text, "|") || strings.HasPrefix(text, "#") {
			text = "\n"
		}
		if strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "* ") {
			text = "\n" + text
		}
		prose.WriteString(text + " ")
	}
	var all []string
	for paragraph := range strings.SplitSeq(prose.String(), "\n") {
		all = append(all, regexp.MustCompile(`[.:;?!]\)? `).Split(paragraph, -1)...)
	}
	return all
}

// TestGlossary: at most 40 terms in the order of the alphabet, each explained in one sentence and used in the docs.
func TestGlossary(t *testing.T) {
	t.Parallel()
	const page, most = "docs/glossary.md", 40
	row := regexp.MustCompile(`^\| \*\*([a-z ]+)\*\* \| (.+) \|$`)
	var terms []string
	for n, line := range lines(t, page) {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		terms = append(terms, m[1])
		if strings.Contains(strings.TrimSuffix(m[2], "."), ". ") || !strings.HasSuffix(m[2], ".") {
			t.Errorf("%s:%d: %q is not explained in one sentence", page, n+1, m[1])
		}
	}
	if len(terms) < 30 || len(terms) > most || !slices.IsSorted(terms) {
		t.Errorf("%d terms, sorted: %v; want at most %d", len(terms), slices.IsSorted(terms), most)
	}
	var rest strings.Builder
	for _, file := range texts(t) {
		if file != page && strings.HasSuffix(file, ".md") {
			rest.WriteString(strings.ToLower(strings.Join(lines(t, file), "\n")))
		}
	}
	for _, term := range terms {
		if !strings.Contains(rest.String(), term) {
			t.Errorf("no other page uses %q", term)
		}
	}
}

// TestArchitecturePaths: every file and folder that docs/architecture.md and the index of docs name is there.
func TestArchitecturePaths(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`((?:cmd|deploy|docs|internal|policies|rotation|stores|xai)(?:/[A-Za-z0-9_.-]+)*)`")
	found := 0
	for n, line := range lines(t, "docs/architecture.md") {
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			found++
			if _, err := os.Stat(filepath.Join(root(t), m[1])); err != nil {
				t.Errorf("docs/architecture.md:%d: %s is not there", n+1, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d paths were found", found)
	}
}

// TestDocsIndex: docs/README.md names every page.
func TestDocsIndex(t *testing.T) {
	t.Parallel()
	index := strings.Join(lines(t, "docs/README.md"), "\n")
	pages, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(index, fmt.Sprintf("](%s)", name)) {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
	decisions, err := filepath.Glob(filepath.Join(root(t), "docs", "decisions", "0*.md"))
	if err != nil || len(decisions) < 10 {
		t.Fatalf("%d decisions: %v", len(decisions), err)
	}
	list := strings.Join(lines(t, "docs/decisions/README.md"), "\n")
	for _, page := range decisions {
		if !strings.Contains(list, fmt.Sprintf("](%s)", filepath.Base(page))) {
			t.Errorf("docs/decisions/README.md does not name %s", filepath.Base(page))
		}
	}
}

// texts are the files of the project that people read, but for the list itself, this test, what counts words, and the changelog:
// older releases keep their words.
func texts(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root(t), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root(t), path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist"}, file):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		switch filepath.Ext(file) {
		case ".go", ".md", ".yaml", ".yml", ".html", ".tpl", ".txt", ".json", ".service", ".tmpl", "":
		default:
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 1<<20 { // a program that was built, or a file of a test that is gone
			return nil
		}
		if !slices.Contains([]string{retiredWords, "internal/layout/words_test.go", "internal/layout/sample/main.go", "docs/decisions/0017-words.md", "CHANGELOG.md", "LICENSE"}, file) {
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 500 {
		t.Fatalf("only %d files were found", len(files))
	}
	return files
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

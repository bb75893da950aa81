// Command sample prints a random sample of the project's comments, messages and docs, for people to judge, and how often
// phrases occur that this project wants to be rare. The seed is the commit, so that each commit has another sample and two
// people who judge one see the same.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// passage is a comment, a message or a sentence, and where it is.
type passage struct{ at, text string }

// phrases are what is counted.
var phrases = []struct {
	name string
	of   *regexp.Regexp
}{
	{"nobody, somebody", regexp.MustCompile(`(?i)\b(no|some|any|every)body\b`)},
	{"stands, bears, tells", regexp.MustCompile(`(?i)\b(stands?|stood|bears?|bore|tells?|told)\b`)},
	{"bare who", regexp.MustCompile(`(?i)(^|[.;:,(] |\b(and|or|of|to|for|by|that|from) )(who|whoever|whom) `)},
}

func main() {
	seed := flag.String("seed", commit(), "any text")
	flag.Parse()
	if err := run(*seed); err != nil {
		fmt.Fprintln(os.Stderr, "sample:", err)
		os.Exit(1)
	}
}

func run(seed string) error {
	out, err := exec.Command("git", "ls-files", "*.go", "*.md").Output()
	if err != nil {
		return fmt.Errorf("list the files: %w", err)
	}
	var comments, messages, sentences []passage
	for file := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		switch {
		case filepath.Ext(file) == ".md" && file != "CHANGELOG.md":
			sentences = append(sentences, sentencesOf(file, string(text))...)
		case filepath.Ext(file) == ".go" && !bytes.Contains(text, []byte("\n// Code generated ")):
			c, m, err := passagesOf(file, text)
			if err != nil {
				return err
			}
			comments, messages = append(comments, c...), append(messages, m...)
		}
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	random := rand.New(rand.NewPCG(h.Sum64(), 0)) // the sample of a commit is always the same
	show(random, "comments", comments, 60)
	show(random, "messages", messages, 40)
	show(random, "sentences", sentences, 40)
	fmt.Println("\nper 10,000 words:")
	for _, of := range []struct {
		name string
		all  []passage
	}{{"comments", comments}, {"messages", messages}, {"docs", sentences}} {
		count(of.name, of.all)
	}
	return nil
}

func show(random *rand.Rand, name string, all []passage, n int) {
	fmt.Printf("\n%d of %d %s:\n", n, len(all), name)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, p := range all[:min(n, len(all))] {
		fmt.Printf("%s: %s\n", p.at, p.text)
	}
}

func count(name string, all []passage) {
	words := 0
	found := make([]int, len(phrases))
	for _, p := range all {
		words += len(strings.Fields(p.text))
		for i, ph := range phrases {
			found[i] += len(ph.of.FindAllString(p.text, -1))
		}
	}
	fmt.Printf("%-9s %7d words", name, words)
	for i, ph := range phrases {
		fmt.Printf("; %s: %.1f", ph.name, float64(found[i])*1e4/float64(max(words, 1)))
	}
	fmt.Println()
}

// passagesOf returns the comments of a file, and its strings that are sentences.
func passagesOf(file string, text []byte) (comments, messages []passage, err error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, text, parser.ParseComments)
	if err != nil {
		return nil, nil, err
	}
	at := func(p token.Pos) string { return fmt.Sprintf("%s:%d", file, set.Position(p).Line) }
	for _, c := range f.Comments {
		if said := strings.Join(strings.Fields(c.Text()), " "); said != "" {
			comments = append(comments, passage{at(c.Pos()), said})
		}
	}
	if strings.HasSuffix(file, "_test.go") {
		return comments, nil, nil
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if said, err := strconv.Unquote(l.Value); err == nil && len(strings.Fields(said)) > 3 && !strings.Contains(said, "\n") {
				messages = append(messages, passage{at(l.Pos()), said})
			}
		}
		return true
	})
	return comments, messages, nil
}

// sentencesOf returns the sentences of a page, without code and tables' lines.
func sentencesOf(file, text string) []passage {
	var all []passage
	var prose strings.Builder
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
			continue
		}
		if !code && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "<!--") {
			prose.WriteString(strings.TrimLeft(line, " |-"))
			if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "|") {
				prose.WriteString("\n\n")
			}
		}
	}
	for paragraph := range strings.SplitSeq(prose.String(), "\n\n") {
		for said := range strings.SplitSeq(strings.Join(strings.Fields(paragraph), " "), ". ") {
			if len(strings.Fields(said)) > 3 {
				all = append(all, passage{file, said})
			}
		}
	}
	return all
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

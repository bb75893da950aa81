package dotenv

import (
	"bytes"
	"strings"
)

// assignment is one NAME=value, by offsets into the document.
type assignment struct {
	name    string
	line    int // from 1
	start   int // of the line
	nameAt  int
	valueAt int // the value's first byte, its quote included; where an empty value would begin
	end     int // of the line, before its newline
	export  bool
	quote   string // "", a single or a double quote
	value   string
	comment string // behind the value, with its #
	unclear string // why readers disagree about the value, "" where they do not
}

// scanned is a file as dotenv libraries read it.
type scanned struct {
	assignments []assignment
	bad         int // the first line that is no assignment, 0 if none
}

// scanDotenv reads doc line by line, as dotenv libraries do. A quoted value may go over several lines.
func scanDotenv(doc []byte) scanned {
	var out scanned
	for at, line := 0, 1; at < len(doc); {
		a := assignment{line: line, start: at}
		a.end = lineEnd(doc, at)
		text := string(doc[at:a.end])
		next := a.end
		switch trimmed := strings.TrimLeft(text, blank); {
		case strings.TrimSpace(text) == "" || trimmed[0] == '#':
		case !a.split(text):
			if out.bad == 0 {
				out.bad = line
			}
		default:
			next = a.readValue(doc)
			out.assignments = append(out.assignments, a)
		}
		next = pastNewline(doc, next)
		line += bytes.Count(doc[at:next], []byte("\n"))
		at = next
	}
	return out
}

// blank is what may surround names and values.
const blank = " \t"

// split finds the name and where the value begins. It reports whether text is an assignment.
func (a *assignment) split(text string) bool {
	left, _, ok := strings.Cut(text, "=")
	if !ok {
		return false
	}
	name := strings.TrimLeft(left, blank)
	if rest, found := strings.CutPrefix(name, "export"); found && rest != strings.TrimLeft(rest, blank) && strings.TrimLeft(rest, blank) != "" {
		a.export, name = true, strings.TrimLeft(rest, blank)
	}
	a.nameAt = a.start + len(left) - len(name)
	a.name = strings.TrimRight(name, blank)
	behind := text[len(left)+1:]
	value := strings.TrimLeft(behind, blank)
	a.valueAt = a.start + len(text) - len(value)
	if value == "" || value[0] == '#' {
		a.valueAt = a.start + len(text) - len(behind) // an empty value is at the =, where shells look for it
	}
	return true
}

// readValue fills in the value. It returns where the assignment ends.
func (a *assignment) readValue(doc []byte) (end int) {
	text := string(doc[a.valueAt:a.end])
	if text != "" && (text[0] == '\'' || text[0] == '"' || text[0] == '`') {
		return a.readQuoted(doc, text[0])
	}
	if at := commentAt(text); at >= 0 {
		a.comment = strings.TrimRight(text[at:], blank)
		text = text[:at]
	}
	a.value = strings.TrimRight(text, blank)
	switch {
	case strings.ContainsAny(a.value, "\"'`\\$#"):
		a.unclear = "has a quote, a backslash, $ or # within the value"
	case strings.ContainsAny(a.value, blank):
		a.unclear = "has a space within a value without quotes"
	case strings.HasSuffix(a.comment, `\`):
		a.unclear = "ends in a backslash"
	case strings.HasPrefix(a.comment, "#") && doc[a.valueAt] == '#':
		a.unclear = "has a # directly behind ="
	}
	return a.end
}

// commentAt returns where a comment begins behind a value without quotes, -1 if there is none.
func commentAt(text string) int {
	for i := range len(text) {
		if text[i] == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t') {
			return i
		}
	}
	return -1
}

// readQuoted fills in a value within quotes. It returns where the assignment ends.
func (a *assignment) readQuoted(doc []byte, quote byte) (end int) {
	from := a.valueAt + 1
	closing := from
	for closing < len(doc) && (doc[closing] != quote || doc[closing-1] == '\\' && closing > from) {
		closing++
	}
	a.quote = string(quote)
	if closing == len(doc) { // never closed: libraries differ in what follows
		a.unclear = "opens a quote that is not closed"
		return a.end
	}
	a.value = string(doc[from:closing])
	a.end = lineEnd(doc, closing)
	behind := strings.Trim(string(doc[closing+1:a.end]), blank)
	if strings.HasPrefix(behind, "#") {
		a.comment, behind = behind, ""
	}
	switch {
	case behind != "":
		a.unclear = "goes on behind the closing quote"
	case quote == '`' || strings.ContainsAny(a.value, "\\\n\r") || quote == '"' && strings.Contains(a.value, "$"):
		a.unclear = "has a backtick, a backslash, $ or a line end within the value"
	case strings.HasSuffix(a.comment, `\`):
		a.unclear = "ends in a backslash"
	}
	return a.end
}

// lineEnd returns where the line that at lies in ends, before its newline.
func lineEnd(doc []byte, at int) int {
	end := len(doc)
	if i := bytes.IndexByte(doc[at:], '\n'); i >= 0 {
		end = at + i
	}
	if end > at && doc[end-1] == '\r' {
		end--
	}
	return end
}

// pastNewline returns where the next line begins.
func pastNewline(doc []byte, at int) int {
	if i := bytes.IndexByte(doc[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(doc)
}

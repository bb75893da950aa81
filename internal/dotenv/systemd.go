package dotenv

import "strings"

// The states of systemd's reader of environment files.
const (
	beforeName = iota
	inName
	beforeValue
	inValue
	escapedInValue
	singleQuoted
	doubleQuoted
	escapedInQuotes
	inComment
	escapedInComment
)

// scanSystemd returns where systemd sees assignments: names with offsets, without values. It follows parse_env_file_internal in
// src/basic/env-file.c. What is no valid name, such as one with `export` before it, is left out as systemd leaves it out.
func scanSystemd(doc []byte) []assignment {
	var found []assignment
	state, a, line := beforeName, assignment{}, 1
	finish := func() {
		if state >= beforeValue && state <= escapedInQuotes && Name(a.name) {
			found = append(found, a)
		}
		state = beforeName
	}
	for at, c := range doc {
		newline := c == '\n' || c == '\r'
		switch state {
		case beforeName:
			switch {
			case c == '#' || c == ';':
				state = inComment
			case !strings.ContainsRune(" \t\n\r", rune(c)):
				state, a = inName, assignment{nameAt: at, line: line}
			}
		case inName:
			switch {
			case newline:
				state = beforeName
			case c == '=':
				state, a.name = beforeValue, strings.TrimRight(string(doc[a.nameAt:at]), blank)
			}
		case beforeValue, inValue:
			switch {
			case newline:
				finish()
			case c == '\\':
				state = escapedInValue
			case state == beforeValue && c == '\'':
				state = singleQuoted
			case state == beforeValue && c == '"':
				state = doubleQuoted
			case c != ' ' && c != '\t':
				state = inValue
			}
		case escapedInValue:
			state = inValue
		case singleQuoted:
			if c == '\'' {
				state = beforeValue
			}
		case doubleQuoted:
			switch c {
			case '\\':
				state = escapedInQuotes
			case '"':
				state = beforeValue
			}
		case escapedInQuotes:
			state = doubleQuoted
		case inComment:
			switch {
			case newline:
				state = beforeName
			case c == '\\':
				state = escapedInComment
			}
		case escapedInComment:
			state = inComment
		}
		if c == '\n' {
			line++
		}
	}
	finish()
	return found
}

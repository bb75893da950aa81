package jsonfield

import (
	"fmt"
	"strings"
)

// Hint says, where doc has no field of that name, which one was probably meant: one that differs in case, or one inside
// another field that the name is a path to, as in a.k or a/k. Empty: the field is there, or nothing resembles it. It quotes
// nothing of doc but names that field itself spells.
func Hint(doc []byte, field string) string {
	members, err := scan(doc)
	if err != nil {
		return ""
	}
	near := ""
	for _, m := range members {
		switch {
		case m.name == field:
			return ""
		case strings.EqualFold(m.name, field):
			near = m.name
		}
	}
	switch {
	case near != "":
		return fmt.Sprintf("there is a field %q, which differs in case", near)
	case inside(doc, strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '/' })):
		return fmt.Sprintf("%q lies inside another field; only a field at the top can be used", field)
	}
	return ""
}

// inside reports whether the names lead to a member within doc's objects, whatever their case.
func inside(doc []byte, names []string) bool {
	if len(names) == 0 {
		return false
	}
	members, err := scan(doc)
	if err != nil {
		return false
	}
	for _, m := range members {
		if strings.EqualFold(m.name, names[0]) && (len(names) == 1 || inside(doc[m.value:m.end], names[1:])) {
			return true
		}
	}
	return false
}

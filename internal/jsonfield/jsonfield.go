// Package jsonfield reads and replaces one text field at the top of a JSON object and leaves every other byte as it is.
//
// A secret that several people share is often a JSON object. Decoding and encoding it again would reorder its members,
// round its numbers and rewrite its escapes; here the new value is spliced in between the old bytes instead.
// No error of this package quotes the document.
package jsonfield

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

var (
	// ErrNotObject means that the document is not one JSON object.
	ErrNotObject = errors.New("not a JSON object")
	// ErrDuplicate means that a name occurs twice at the top of the object, so that readers may disagree about its value.
	ErrDuplicate = errors.New("a field occurs twice in the JSON object")
	// ErrNotFound means that the object has no such field, or it is null.
	ErrNotFound = errors.New("no such field in the JSON object")
	// ErrNotString means that the field holds a number, a boolean, an object or an array.
	ErrNotString = errors.New("the field of the JSON object is not a string")
	// ErrNotText means that a name or a value to be written is not UTF-8, which JSON cannot hold.
	ErrNotText = errors.New("not UTF-8 text")
)

// Get returns the text of the top-level member named field. Names are compared after their escapes are decoded, and
// case counts. A document of white space only counts as an object without fields. The errors are ErrNotObject,
// ErrDuplicate (whichever name occurs twice), ErrNotFound and ErrNotString.
func Get(doc []byte, field string) (string, error) {
	members, err := scan(doc)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if m.name == field {
			return m.text(doc)
		}
	}
	return "", ErrNotFound
}

// Set returns a copy of doc in which the top-level member named field has the given text as its value; every byte
// outside that value is the same. A missing member is added after the last one, in its layout; a document of white
// space only becomes a new object. A member that is neither text nor null is left alone: ErrNotString.
// The other errors are ErrNotObject, ErrDuplicate and ErrNotText.
func Set(doc []byte, field, value string) ([]byte, error) {
	if !utf8.ValidString(field) || !utf8.ValidString(value) {
		return nil, ErrNotText
	}
	members, err := scan(doc)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.name != field {
			continue
		}
		if _, err := m.text(doc); err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		return splice(doc, m.value, m.end, quote(value)), nil
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		return splice([]byte("{}"), 1, 1, quote(field), []byte(":"), quote(value)), nil
	}
	if len(members) == 0 {
		at := bytes.IndexByte(doc, '{') + 1
		return splice(doc, at, at, quote(field), []byte(":"), quote(value)), nil
	}
	last := members[len(members)-1]
	return splice(doc, last.end, last.end, []byte(","), doc[last.before:last.key], quote(field), doc[last.colon:last.value], quote(value)), nil
}

// member is one name and value of the object, by offsets into the document.
type member struct {
	name   string // decoded
	before int    // after the brace or comma that precedes the name
	key    int    // the name's opening quote
	colon  int    // after the name's closing quote
	value  int    // the value's first byte
	end    int    // after the value's last byte
}

// text returns the member's value: ErrNotFound for null, ErrNotString for anything else that is not text.
func (m member) text(doc []byte) (string, error) {
	var s *string
	if json.Unmarshal(doc[m.value:m.end], &s) != nil {
		return "", ErrNotString
	}
	if s == nil {
		return "", ErrNotFound
	}
	return *s, nil
}

// space is what JSON counts as white space.
const space = " \t\r\n"

// scan lists the members of the object in doc, in their order.
func scan(doc []byte) ([]member, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, nil
	}
	if !json.Valid(doc) { // checked once and whole, so that no call below can fail halfway
		return nil, ErrNotObject
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber() // 1e400 is fine JSON and no float64
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, ErrNotObject
	}
	var members []member
	seen := map[string]bool{}
	for before := int(dec.InputOffset()); dec.More(); {
		if len(members) > 0 {
			before = skip(doc, before, space) + len(",")
		}
		m := member{before: before, key: skip(doc, before, space)}
		tok, err := dec.Token()
		if err != nil {
			return nil, ErrNotObject
		}
		m.name, m.colon = tok.(string), int(dec.InputOffset())
		m.value = skip(doc, m.colon, space+":")
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			return nil, ErrNotObject
		}
		m.end = int(dec.InputOffset())
		before = m.end
		if seen[m.name] {
			return nil, ErrDuplicate
		}
		seen[m.name] = true
		members = append(members, m)
	}
	return members, nil
}

// skip returns the first offset at or after from whose byte is not in set. It is at most len(doc).
func skip(doc []byte, from int, set string) int {
	return len(doc) - len(bytes.TrimLeft(doc[from:], set))
}

// splice returns a new text: doc with the bytes from start to end replaced by parts.
func splice(doc []byte, start, end int, parts ...[]byte) []byte {
	return bytes.Join([][]byte{doc[:start], bytes.Join(parts, nil), doc[end:]}, nil)
}

// quote returns s as a JSON string, without the escapes that only HTML needs.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

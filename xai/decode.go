package xai

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"rotator/internal/secret"
)

// body is an answer's text, or a part of it. No error of encoding/json leaves this file: they quote what they read.
type body []byte

// object is a JSON object by normalized names, so that acl_strings and aclStrings are one.
type object map[string]json.RawMessage

// Bounds of an answer's parts, so that a small answer cannot become large in memory. Bytes are bounded where it is read.
const (
	fieldsMax = 256       // of one object
	textsMax  = 4096      // of one list of texts or numbers, and of one object of bools
	partsMax  = 1_000_000 // of all lists of an answer, or of all pages of one, in texts or numbers
	objectIs  = 5         // so many texts
)

// tooMany is the Code of an answer with more parts than that. It is not asked for again.
const tooMany = "too_many"

// object decodes b; false unless it is exactly one JSON object of a sensible number of fields.
func (b body) object() (object, bool) {
	m, ok := b.fields(fieldsMax)
	if !ok {
		return nil, false
	}
	o := make(object, len(m))
	for name, value := range m {
		short := strings.ToLower(strings.ReplaceAll(name, "_", ""))
		if _, taken := o[short]; taken && strings.Contains(name, "_") {
			continue // both spellings at once: the documented one counts
		}
		o[short] = value
	}
	return o, true
}

// fields decodes b; false unless it is exactly one JSON object of at most limit fields. The values are parts of b.
func (b body) fields(limit int) (map[string]json.RawMessage, bool) {
	text := bytes.TrimLeft(b, space)
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) { // checked once and whole: nothing below meets anything else
		return nil, false
	}
	m := map[string]json.RawMessage{}
	n := 0
	for at := next(text, 1); text[at] != '}'; n++ {
		if n == limit {
			return nil, false
		}
		if text[at] == ',' {
			at = next(text, at+1)
		}
		end := pass(text, at)
		name, ok := plain(text[at:end])
		if !ok && json.Unmarshal(text[at:end], &name) != nil {
			return nil, false
		}
		at = next(text, next(text, end)+1) // past the colon
		end = pass(text, at)
		m[name] = json.RawMessage(text[at:end:end])
		at = next(text, end)
	}
	return m, true
}

// space is what JSON counts as white space.
const space = " \t\r\n"

// next is the first place at or after at that is not white space. The text is valid JSON, and does not end there.
func next(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n' {
		at++
	}
	return at
}

// pass is the place after the value that begins at at, in valid JSON that goes on after it.
func pass(text []byte, at int) int {
	switch text[at] {
	case '"':
		return passText(text, at)
	case '{', '[':
		for depth := 0; ; {
			switch text[at] {
			case '"':
				at = passText(text, at)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if at++; depth == 0 {
				return at
			}
		}
	}
	for !bytes.ContainsRune([]byte(",}] \t\r\n"), rune(text[at])) {
		at++
	}
	return at
}

// passText is the place after the text that begins at at.
func passText(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// plain is what a JSON text says that has no escapes and nothing but ASCII; false for others.
func plain(v []byte) (string, bool) {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return "", false
	}
	inside := v[1 : len(v)-1]
	for _, c := range inside {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return string(inside), true
}

// reader takes fields out of an object and remembers the first that is not what it should be. Absent and null are the
// zero value, everywhere.
type reader struct {
	o    object
	bad  code
	left *int // parts that the answer's lists may still have
}

func (r *reader) raw(name string) json.RawMessage {
	v := r.o[strings.ToLower(name)]
	if bytes.Equal(v, []byte("null")) {
		return nil
	}
	return v
}

func (r *reader) fail(name string) {
	if r.bad == "" {
		r.bad = code("field_" + strings.ToLower(name))
	}
}

// text reads a string.
func (r *reader) text(name string) string {
	v := r.raw(name)
	if v == nil {
		return ""
	}
	s, ok := plain(v)
	if !ok && json.Unmarshal(v, &s) != nil {
		r.fail(name)
	}
	return s
}

// flag reads a bool, also as a string.
func (r *reader) flag(name string) bool {
	v := r.raw(name)
	switch strings.ToLower(strings.Trim(string(v), `"`)) {
	case "true":
		return true
	case "false", "":
	default:
		r.fail(name)
	}
	return false
}

// number reads an integer, also as a string; nil when there is none.
func (r *reader) number(name string) *int {
	v := bytes.Trim(r.raw(name), `"`)
	if len(v) == 0 {
		return nil
	}
	var n int
	if json.Unmarshal(v, &n) != nil {
		r.fail(name)
		return nil
	}
	return &n
}

// digits reads an integer that is written as a string, also as a number; nil when there is none.
func (r *reader) digits(name string) *string {
	s := strings.Trim(string(r.raw(name)), `"`)
	if s == "" {
		return nil
	}
	if strings.Trim(s, "0123456789") != "" {
		r.fail(name)
		return nil
	}
	return &s
}

// time reads an RFC3339 time; zero when there is none.
func (r *reader) time(name string) time.Time {
	s := r.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		r.fail(name)
		return time.Time{}
	}
	return t.UTC()
}

// texts reads a list of strings under the first of names that is there.
func (r *reader) texts(names ...string) []string {
	for _, name := range names {
		v := r.raw(name)
		if v == nil {
			continue
		}
		return list[string](r, name, v)
	}
	return nil
}

// each runs take over a list of objects, one at a time, until r has failed. It returns how many there were.
func (r *reader) each(name string, take func(*reader)) (n int) {
	v := r.raw(name)
	if v == nil || r.bad != "" {
		return 0
	}
	d := json.NewDecoder(bytes.NewReader(v))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		r.fail(name)
		return 0
	}
	for ; d.More() && r.bad == ""; n++ {
		if !r.spend(objectIs) {
			return n
		}
		var part json.RawMessage
		if d.Decode(&part) != nil {
			r.fail(name)
			return n
		}
		o, ok := body(part).object()
		if !ok {
			r.fail(name)
			return n
		}
		take(&reader{o: o, left: r.left})
	}
	return n
}

// flags reads an object of bools, under names that are not ours to normalize; nil when there is none.
func (r *reader) flags(name string) map[string]bool {
	v := r.raw(name)
	if v == nil {
		return nil
	}
	parts, ok := body(v).fields(textsMax)
	if !ok {
		r.fail(name)
	}
	m := make(map[string]bool, len(parts))
	for part, v := range parts {
		one := &reader{o: object{"": v}, left: r.left}
		if m[part] = one.flag(""); one.bad != "" {
			r.fail(name)
		}
	}
	return m
}

// numbers reads a list of numbers.
func (r *reader) numbers(name string) []float64 {
	v := r.raw(name)
	if v == nil {
		return nil
	}
	return list[float64](r, name, v)
}

// list reads a short list of texts or numbers.
func list[T any](r *reader, name string, v json.RawMessage) []T {
	all := []T{}
	d := json.NewDecoder(bytes.NewReader(v))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		r.fail(name)
		return nil
	}
	for d.More() {
		var one T
		if len(all) == textsMax || d.Decode(&one) != nil {
			r.fail(name)
			return nil
		}
		if !r.spend(1) {
			return nil
		}
		all = append(all, one)
	}
	return all
}

// spend takes n parts of what the answer's lists may still have.
func (r *reader) spend(n int) bool {
	if *r.left -= n; *r.left < 0 {
		r.bad = tooMany
	}
	return *r.left >= 0
}

// overflow passes on that the answer has too many elements, whatever else of child may be overlooked.
func (r *reader) overflow(child *reader) {
	if child.bad == tooMany {
		r.bad = child.bad
	}
}

// secret reads an API key's plaintext; empty unless it can be in a header.
func (r *reader) secret(name string) secret.Text {
	s := r.text(name)
	if !headerSafe(s) {
		return secret.Text{}
	}
	return secret.New(s)
}

// decode runs take over the object that b must be.
func (b body) decode(take func(*reader)) code {
	left := partsMax
	return b.decodePage(&left, take)
}

// decodePage is decode for one of several pages, which may have left parts together.
func (b body) decodePage(left *int, take func(*reader)) code {
	o, ok := b.object()
	if !ok {
		return "not_json"
	}
	r := &reader{o: o, left: left}
	take(r)
	return r.bad
}

// key reads a key object. One without an id cannot be named again and is not a key.
func (r *reader) key() Key {
	k := Key{
		ID: r.text("apiKeyId"), TeamID: r.text("teamId"), UserID: r.text("userId"), Name: r.text("name"),
		Redacted: r.text("redactedApiKey"),
		Created:  r.time("createTime"), Modified: r.time("modifyTime"), Expires: r.time("expireTime"),
		Disabled: r.flag("disabled"), QPS: r.number("qps"), QPM: r.number("qpm"), TPM: r.digits("tpm"),
		ACLs: r.texts("aclStrings", "acls"),
	}
	if k.ID == "" && r.bad == "" {
		r.bad = "no_key_id"
	}
	return k
}

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

// object is a JSON object by normalised names, so that acl_strings and aclStrings are one.
type object map[string]json.RawMessage

// object decodes b; false unless it is exactly one JSON object.
func (b body) object() (object, bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil || m == nil {
		return nil, false
	}
	o := make(object, len(m))
	for name, value := range m {
		plain := strings.ToLower(strings.ReplaceAll(name, "_", ""))
		if _, taken := o[plain]; taken && strings.Contains(name, "_") {
			continue // both spellings at once: the documented one counts
		}
		o[plain] = value
	}
	return o, true
}

// reader takes fields out of an object and remembers the first that is not what it should be. Absent and null are the
// zero value, everywhere.
type reader struct {
	o   object
	bad code
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
	var s string
	if v := r.raw(name); v != nil && json.Unmarshal(v, &s) != nil {
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
		var s []string
		if json.Unmarshal(v, &s) != nil {
			r.fail(name)
		}
		return s
	}
	return nil
}

// list reads a list of objects.
func (r *reader) list(name string) []object {
	v := r.raw(name)
	if v == nil {
		return nil
	}
	var parts []json.RawMessage
	if json.Unmarshal(v, &parts) != nil {
		r.fail(name)
		return nil
	}
	objects := make([]object, 0, len(parts))
	for _, part := range parts {
		o, ok := body(part).object()
		if !ok {
			r.fail(name)
			return nil
		}
		objects = append(objects, o)
	}
	return objects
}

// flags reads an object of bools, under names that are not ours to normalise; nil when there is none.
func (r *reader) flags(name string) map[string]bool {
	v := r.raw(name)
	if v == nil {
		return nil
	}
	var parts map[string]json.RawMessage
	if json.Unmarshal(v, &parts) != nil {
		r.fail(name)
	}
	m := make(map[string]bool, len(parts))
	for part, v := range parts {
		one := &reader{o: object{"": v}}
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
	var n []float64
	if json.Unmarshal(v, &n) != nil {
		r.fail(name)
	}
	return n
}

// secret reads an API key's plaintext; empty unless it can stand in a header.
func (r *reader) secret(name string) secret.Text {
	s := r.text(name)
	if !headerSafe(s) {
		return secret.Text{}
	}
	return secret.New(s)
}

// decode runs take over the object that b must be.
func (b body) decode(take func(*reader)) code {
	o, ok := b.object()
	if !ok {
		return "not_json"
	}
	r := &reader{o: o}
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

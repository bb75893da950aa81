package xai

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
)

// slowFields is what fields says, by the decoder of the standard library.
func slowFields(b []byte, limit int) (map[string]json.RawMessage, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	m := map[string]json.RawMessage{}
	for n := 0; d.More(); n++ {
		name, err := d.Token()
		var v json.RawMessage
		if err != nil || n == limit || d.Decode(&v) != nil {
			return nil, false
		}
		m[name.(string)] = v
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, false
	}
	_, err := d.Token()
	return m, err == io.EOF
}

// FuzzFields compares fields and text with the decoder of the standard library.
func FuzzFields(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{`, `{}`, ` { } `, `[]`, `null`, `{"a":1}`, `{"a":1,}`, `{"a" : "b" , "c":[1,{"d":"}"}],"e":null}`, `{"a":"\"}\\","b":true}`,
		`{"a":1}{"b":2}`, `{"a":1} x`, "\ufeff{}", "{\"\\u0061\":\"\xff\",\"\xff\":-1.5e3}", `{"a":1,"a":2}`, `{"a":"é","é":false}`, `{"a":"` + "\x7f" + `"}`,
		`{"a":{"b":{}},"c":[[]],"d":"x,y"}`, `{"a":1,"b":2,"c":3,"d":4,"e":5}`, "{\"a\"\t:\r\n1}", strings.Repeat("[", 20000), `{"a":` + strings.Repeat("[", 10001),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, ok := slowFields(b, 4)
		got, same := body(b).fields(4)
		if ok != same || ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %q, %t; want %q, %t", b, got, same, want, ok)
		}
		for name, v := range got {
			r := &reader{o: object{"x": v}}
			var s string
			err := json.Unmarshal(v, &s)
			if text := r.text("x"); text != s || (err == nil) != (r.bad == "") {
				t.Fatalf("%q in %q: %q, %v; want %q, %v", name, b, text, r.bad, s, err)
			}
		}
	})
}

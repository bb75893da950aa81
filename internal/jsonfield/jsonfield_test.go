package jsonfield

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, doc, field, want string
		err                    error
	}{
		{"first", `{"a":"1","b":"2"}`, "a", "1", nil},
		{"last, spaced", " {\n\t\"a\" : 1e400 ,\r\n \"b\" :\t\"2\" } \n", "b", "2", nil},
		{"escaped name", `{"caf\u00e9":"x"}`, "café", "x", nil},
		{"escaped value", `{"a":"q\"\\\u00e9\ud83d\ude00"}`, "a", `q"\é😀`, nil},
		{"empty text", `{"a":""}`, "a", "", nil},
		{"empty name", `{"":"x"}`, "", "x", nil},
		{"nested alike", `{"n":{"a":"inner"},"l":[{"a":"x"}],"a":"outer"}`, "a", "outer", nil},
		{"duplicates below the top", `{"n":{"x":1,"x":2},"a":"v"}`, "a", "v", nil},
		{"only nested", `{"n":{"a":"inner"}}`, "a", "", ErrNotFound},
		{"case counts", `{"A":"x"}`, "a", "", ErrNotFound},
		{"null", `{"a":null}`, "a", "", ErrNotFound},
		{"no fields", `{ }`, "a", "", ErrNotFound},
		{"no document", "", "a", "", ErrNotFound},
		{"white space", " \n", "a", "", ErrNotFound},
		{"number", `{"a":1}`, "a", "", ErrNotString},
		{"boolean", `{"a":true}`, "a", "", ErrNotString},
		{"object", `{"a":{"b":"c"}}`, "a", "", ErrNotString},
		{"array", `{"a":["b"]}`, "a", "", ErrNotString},
		{"twice", `{"a":"1","a":"2"}`, "a", "", ErrDuplicate},
		{"twice, by an escape", `{"a":"1","\u0061":"2"}`, "a", "", ErrDuplicate},
		{"another twice", `{"a":"1","b":1,"b":2}`, "a", "", ErrDuplicate},
		{"bare text", "xai-plain", "a", "", ErrNotObject},
		{"string", `"a"`, "a", "", ErrNotObject},
		{"array document", `["a"]`, "a", "", ErrNotObject},
		{"null document", `null`, "a", "", ErrNotObject},
		{"two documents", `{"a":"1"}{"a":"2"}`, "a", "", ErrNotObject},
		{"cut short", `{"a":"1"`, "a", "", ErrNotObject},
		{"trailing comma", `{"a":"1",}`, "a", "", ErrNotObject},
		{"byte order mark", "\ufeff{\"a\":\"1\"}", "a", "", ErrNotObject},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := Get([]byte(tc.doc), tc.field)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("Get = %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, doc, field, value, want string
		err                           error
	}{
		{"compact", `{"a":"1","b":"2"}`, "a", "new", `{"a":"new","b":"2"}`, nil},
		{"numbers and layout kept", "{ \"n\": 1.50e+400,\n\t\"a\" :  \"1\" , \"i\":123456789012345678901234567890}\n", "a", "new",
			"{ \"n\": 1.50e+400,\n\t\"a\" :  \"new\" , \"i\":123456789012345678901234567890}\n", nil},
		{"escapes of others kept", `{"\u0062":"\u00e9\/","a":"1"}`, "a", "n", `{"\u0062":"\u00e9\/","a":"n"}`, nil},
		{"nested alike kept", `{"n":{"a":"x"},"a":"1"}`, "a", "n", `{"n":{"a":"x"},"a":"n"}`, nil},
		{"null replaced", `{"a":null}`, "a", "n", `{"a":"n"}`, nil},
		{"value quoted", `{"a":""}`, "a", "\"\\\n<é>", `{"a":"\"\\\n<é>"}`, nil},
		{"added, compact", `{"b":1}`, "a", "n", `{"b":1,"a":"n"}`, nil},
		{"added, in the layout", "{\n  \"b\": [1, 2],\n  \"c\": {}\n}\n", "a", "n", "{\n  \"b\": [1, 2],\n  \"c\": {},\n  \"a\": \"n\"\n}\n", nil},
		{"added after a number", `{"b": 1 }`, "a", "n", `{"b": 1,"a": "n" }`, nil},
		{"added, loose commas", "{\"b\":1 ,\n \"c\":2\n}", "a", "n", "{\"b\":1 ,\n \"c\":2,\n \"a\":\"n\"\n}", nil},
		{"added to nothing", ` { } `, "a", "n", ` {"a":"n" } `, nil},
		{"no document", "", "a", "n", `{"a":"n"}`, nil},
		{"white space", "\n", "a\"", "n", `{"a\"":"n"}`, nil},
		{"number left alone", `{"a":1}`, "a", "n", "", ErrNotString},
		{"object left alone", `{"a":{}}`, "a", "n", "", ErrNotString},
		{"twice", `{"a":"1","a":"2"}`, "a", "n", "", ErrDuplicate},
		{"plain text", `xai-plain`, "a", "n", "", ErrNotObject},
		{"bad value", `{}`, "a", "\xff", "", ErrNotText},
		{"bad name", `{}`, "\xff", "n", "", ErrNotText},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			doc := []byte(tc.doc)
			got, err := Set(doc, tc.field, tc.value)
			if string(got) != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("Set = %q, %v; want %q, %v", got, err, tc.want, tc.err)
			}
			if string(doc) != tc.doc {
				t.Errorf("Set changed its input to %q", doc)
			}
		})
	}
}

func FuzzSetField(f *testing.F) {
	f.Add([]byte(`{"a":"1","b":[1e400,{"a":2}]}`), "a", "new")
	f.Add([]byte("{\n  \"x\": -0.0,\n  \"\\u0061\" : null\n}\n"), "a", "\"\\\u2028")
	f.Add([]byte(`{ }`), "", "")
	f.Add([]byte(`{"a":"1","a":"2"}`), "a", "n")
	f.Add([]byte("{\"a\":\"\xff\",\"\xff\":0}"), "b", "n")
	f.Fuzz(func(t *testing.T, doc []byte, field, value string) {
		out, err := Set(doc, field, value)
		if err != nil {
			if json.Valid(doc) && doc[skip(doc, 0, space)] == '{' && errors.Is(err, ErrNotObject) {
				t.Fatal("an object was refused as none")
			}
			return
		}
		if got, err := Get(out, field); err != nil || got != value {
			t.Fatalf("after Set, Get = %q, %v; want %q", got, err, value)
		}
		if again, err := Set(out, field, value); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("a second Set changed %q to %q, %v", out, again, err)
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			return
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal(doc, &before) != nil || json.Unmarshal(out, &after) != nil {
			t.Fatalf("an object did not stay one: %q", out)
		}
		delete(before, field)
		delete(after, field)
		if len(before) != len(after) {
			t.Fatalf("%d other members became %d", len(before), len(after))
		}
		for name, raw := range before {
			if !bytes.Equal(raw, after[name]) {
				t.Fatalf("member %q changed from %s to %s", name, raw, after[name])
			}
		}
	})
}

// TestErrorsDoNotQuote: documents are secrets.
func TestErrorsDoNotQuote(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{`canary`, `{"f":"canary"`, `{"canary":1,"canary":2}`, `{"f":["canary"]}`, `{"f":"canary"}x`} {
		_, get := Get([]byte(doc), "f")
		_, set := Set([]byte(doc), "f", "x")
		for _, err := range []error{get, set} {
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: error is %v", doc, err)
			}
		}
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ doc, field, want string }{
		{``, "a", ""},
		{`not JSON`, "a", ""},
		{`{"a":"x"}`, "a", ""},
		{`{"a":null,"A":"x"}`, "a", ""},
		{`{"b":"x"}`, "a", ""},
		{`{"A":"x"}`, "a", `there is a field "A", which differs in case`},
		{`{"a":{"k":"x"}}`, "k", ""},
		{`{"a":{"k":"x"}}`, "a.k", `"a.k" lies inside another field; only a field at the top can be used`},
		{`{"a":{"b":{"k":"x"}}}`, "a/b/K", `"a/b/K" lies inside another field; only a field at the top can be used`},
		{`{"a":{"k":"x"},"a.k":null}`, "a.k", ""},
		{`{"a":{"j":"x"}}`, "a.k", ""},
		{`{"a":"k"}`, "a.k", ""},
		{`{"a":["k"]}`, "a.k", ""},
		{`{"":"x"}`, ".", ""},
	} {
		if got := Hint([]byte(tc.doc), tc.field); got != tc.want {
			t.Errorf("%s, %s: %q, want %q", tc.doc, tc.field, got, tc.want)
		}
	}
}

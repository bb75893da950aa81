package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	generate "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"rotator/internal/pages"
	"rotator/policies"
)

//go:generate go test -run TestSchemaIsUpToDate -update .

var update = flag.Bool("update", false, "rewrite rotator.schema.json and the keys in docs/configuration.md")

const schemaFile = "rotator.schema.json"

// schemaOf generates the schema from the types, their tags and their comments.
func schemaOf(t *testing.T) []byte {
	t.Helper()
	r := &generate.Reflector{Anonymous: true, DoNotReference: true, RequiredFromJSONSchemaTags: true, FieldNameTag: "yaml"}
	if err := r.AddGoComments("rotator/internal/config", "./", generate.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	text := func(pattern string, examples ...any) *generate.Schema {
		return &generate.Schema{Type: "string", Pattern: pattern, Examples: examples}
	}
	r.Mapper = func(typ reflect.Type) *generate.Schema {
		switch typ {
		case reflect.TypeFor[policies.Duration]():
			return text(`^([0-9]+w)?([0-9]+d)?([0-9]*\.?[0-9]*(ns|us|µs|μs|ms|s|m|h))*$`, "15m", "24h", "7d")
		case reflect.TypeFor[Moment]():
			return text(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$`, "2026-12-18", "2026-12-18T17:00:00Z")
		case reflect.TypeFor[Reference]():
			return text(`^(env|file|credential):.+$`, "env:XAI_MANAGEMENT_KEY", "file:/run/secrets/key", "credential:xai")
		case reflect.TypeFor[State]():
			return text(`^(sqlite|postgres|postgresql|env|file|credential):.+$`, "sqlite:/var/lib/rotator/rotator.db")
		case reflect.TypeFor[Value]():
			return text("")
		case reflect.TypeFor[Addresses]():
			return &generate.Schema{AnyOf: []*generate.Schema{text(""), {Type: "array", Items: text(""), MinItems: new(uint64(1))}}}
		case reflect.TypeFor[Policies]():
			one, folder := text(""), r.Reflect(&PolicyFolder{})
			folder.Version = ""
			least := uint64(1)
			return &generate.Schema{AnyOf: []*generate.Schema{one, {Type: "array", Items: folder, MinItems: &least}}}
		case reflect.TypeFor[Store]():
			s := &generate.Schema{}
			for _, of := range []struct {
				kind string
				as   any
			}{{"vault", &Vault{}}, {"aws", &AWS{}}, {"file", &File{}}, {"kubernetes", &Kubernetes{}}} {
				one := r.Reflect(of.as)
				one.Version = ""
				one.Properties.Set("type", &generate.Schema{Const: of.kind})
				one.Required = append(one.Required, "type")
				s.OneOf = append(s.OneOf, one)
			}
			return s
		}
		return nil
	}
	s := r.Reflect(&Config{})
	s.Title = "The configuration of Rotator, rotator.yaml"
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func TestSchemaIsUpToDate(t *testing.T) {
	want := schemaOf(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types say: run go generate ./internal/config", schemaFile)
	}
	pages.Part(t, "../../docs/configuration.md", "go generate ./internal/config", pages.Table(pages.Keys(t, want)), *update)
}

// TestSchemaAgrees: the schema takes what Parse takes, and refuses the same mistakes of form.
func TestSchemaAgrees(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaFile, schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	const base = "teams: {t: {}}\nstores: {s: {type: file, dir: /s}}\n"
	for _, text := range []string{
		whole, base, base + "stat: x", base + "mode: observe", base + "mode: watch", base + "limits: {watch: 20m, concurrency: none}", "teams: {t: {}}", base + "listen: 5",
		"teams: {t: {management_key: xai-token-a}}\nstores: {s: {type: file, dir: /s}}",
		"teams: {t: {}}\nstores: {s: {type: file}}", "teams: {t: {}}\nstores: {s: {type: aws, dir: /s}}",
		"teams: {t: {}}\nstores: {s: {type: s3}}", base + "notify: [{name: a}]", base + "state: mysql://x",
		base + "freezes: [{from: 2026-12-18, to: 2026-12-20, why: x}]", base + "freezes: [{from: soon, to: 2026-12-20, why: x}]", base + "freezes: [{from: 2026-12-18, why: x}]",
		base + "policies: /p", base + "policies: []", base + "policies: [{dir: /p}, {dir: /q, editors: {group: g}, adopted_keys: this_folder, allow: {teams: [t], labels: {Tier: [dev]}}}]",
		base + "policies: [{allow: {}}]", base + "policies: [{dir: /p, allow: {team: [t]}}]", base + "policies: [{dir: /p, allow: {adopt: 1}}]", base + "policies: [{dir: /p, adopted_keys: none}]",
		base + "policies: [{dir: /p, allow: {verify: [trust]}}]", base + "policies: [{dir: /p, allow: {file_modes: [rw]}}]", base + "policies: {dir: /p}", base + "policies: [/p]",
		base + "policies: [{dir: /p, allow: {stores: {s: \"a/*\"}}}]",
	} {
		var value any
		if err := yaml.Load([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(value) // a day is text there, as in an editor
		if err == nil {
			value, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		}
		if err != nil {
			t.Fatal(err)
		}
		_, problems := Parse("r.yaml", []byte(text), env(nil))
		if err := compiled.Validate(value); (err == nil) != (problems == nil) {
			t.Errorf("%s\nthe schema says %v, the code %v", strings.TrimSpace(text), err, problems)
		}
	}
}

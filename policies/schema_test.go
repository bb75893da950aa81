package policies

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	generate "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"rotator/internal/pages"
)

//go:generate go test -run TestSchemaIsUpToDate -update .

var update = flag.Bool("update", false, "rewrite policy.schema.json and the keys in docs/configuration.md")

const schemaFile = "policy.schema.json"

// schemaOf generates the schema from the types, their tags and their comments.
func schemaOf(t testing.TB) []byte {
	t.Helper()
	r := &generate.Reflector{Anonymous: true, DoNotReference: true, RequiredFromJSONSchemaTags: true}
	if err := r.AddGoComments("rotator/policies", "./", generate.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	r.Mapper = func(typ reflect.Type) *generate.Schema {
		if typ == adoptType {
			named := generate.NewProperties()
			named.Set("key_id", &generate.Schema{Type: "string", Pattern: keyIDForm.String()})
			return &generate.Schema{AnyOf: []*generate.Schema{{Type: "boolean"},
				{Type: "object", Properties: named, Required: []string{"key_id"}, AdditionalProperties: generate.FalseSchema}}}
		}
		if typ != durationType {
			return nil
		}
		return &generate.Schema{Type: "string", Pattern: `^([0-9]+w)?([0-9]+d)?([0-9]*\.?[0-9]*(ns|us|µs|μs|ms|s|m|h))*$`, Examples: []any{"90s", "24h", "45d", "1w"}}
	}
	s := r.Reflect(&Policy{})
	s.Title = "A rotation policy of Rotator"
	key, _ := s.Properties.Get("key")
	acls, _ := key.Properties.Get("acls")
	acls.Items.Pattern = aclForm.String()
	windows, _ := s.Properties.Get("windows")
	windows.Items.Pattern = strings.NewReplacer("(?:", "(").Replace(windowForm.String())
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
		t.Errorf("%s is not what the types say: run go generate ./policies", schemaFile)
	}
	pages.Part(t, "../docs/configuration.md", "go generate ./policies", pages.Table(pages.Keys(t, want)), *update)
}

// TestSchemaHoldsTheCodesPatterns: the struct tags repeat patterns of the code, since tags are literals.
func TestSchemaHoldsTheCodesPatterns(t *testing.T) {
	t.Parallel()
	var s struct {
		Properties map[string]struct {
			Pattern    string
			Properties map[string]struct{ Pattern string }
			Items      struct {
				Properties map[string]struct{ Pattern string }
			}
		}
	}
	if err := json.Unmarshal(schemaOf(t), &s); err != nil {
		t.Fatal(err)
	}
	target := s.Properties["targets"].Items.Properties
	for what, c := range map[string]struct{ tag, code string }{
		"name":         {s.Properties["name"].Pattern, nameForm.String()},
		"team":         {s.Properties["team"].Pattern, nameForm.String()},
		"renamed_from": {s.Properties["renamed_from"].Pattern, nameForm.String()},
		"tpm":          {s.Properties["key"].Properties["tpm"].Pattern, tpmForm.String()},
		"store":        {target["store"].Pattern, nameForm.String()},
		"owner":        {target["owner"].Pattern, userForm.String()},
		"group":        {target["group"].Pattern, userForm.String()},
		"mode":         {target["mode"].Pattern, modeForm.String()},
	} {
		if c.tag != c.code {
			t.Errorf("%s: the schema says %q, the code %q", what, c.tag, c.code)
		}
	}
}

// validator checks a file with several documents against the committed schema, as an editor does.
func validator(t testing.TB) func(data []byte) error {
	t.Helper()
	file, err := os.Open(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	schema, err := jsonschema.UnmarshalJSON(file)
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
	return func(data []byte) error {
		var docs []any
		if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
			return err
		}
		for _, doc := range docs {
			if doc == nil {
				continue
			}
			text, err := json.Marshal(doc)
			if err != nil {
				return err
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				return err
			}
			if err := compiled.Validate(value); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	o := Options{
		Stores: map[string]string{"vault": "vault", "aws": "aws", "local": "file"},
		Teams:  map[string]string{"research": "", "support": ""},
	}
	all := Load("examples", o)
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all.Policies) < 4 {
		t.Errorf("only %d examples", len(all.Policies))
	}
	check := validator(t)
	files, _ := filepath.Glob("examples/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(data); err != nil {
			t.Errorf("%s: the schema refuses it: %v", file, err)
		}
	}
}

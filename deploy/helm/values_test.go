// Package helm holds the chart to its promises, with helm itself and a real API server. It has no code of its own.
package helm

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rotator/internal/pages"
)

//go:generate go test -run TestReadme -update .

var update = flag.Bool("update", false, "rewrite the values in the chart's README.md")

// TestReadme: the chart's page lists every value with its default and what values.yaml says of it.
func TestReadme(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("rotator/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values yaml.Node
	if err := yaml.Load(b, &values); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| value | default | meaning |\n|---|---|---|\n")
	rows(t, &table, "", values.Content[0])
	pages.Part(t, "rotator/README.md", "go generate ./deploy/helm", table.String(), *update)
}

// rows writes a line for each value below a path. A mapping that is written in lines of its own holds values, one in braces
// is a value.
func rows(t *testing.T, table *strings.Builder, path string, mapping *yaml.Node) {
	t.Helper()
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name, says := path+key.Value, comment(key.HeadComment, key.LineComment, value.LineComment)
		holds := value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0
		if !holds && says == "" {
			t.Errorf("values.yaml does not say what %s is", name)
		}
		switch {
		case !holds:
			fmt.Fprintf(table, "| `%s` | `%s` | %s |\n", name, inline(t, value), says)
		case says != "":
			fmt.Fprintf(table, "| `%s` | | %s |\n", name, says)
			fallthrough
		default:
			rows(t, table, name+".", value)
		}
	}
}

// comment is what is above and beside a value, in one line; what looks like a value is an example.
func comment(lines ...string) string {
	var parts []string
	for _, text := range lines {
		text = strings.Join(strings.Fields(strings.ReplaceAll("\n"+text, "\n#", " ")), " ")
		if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") {
			text = "such as `" + text + "`"
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}

// inline is a value as JSON.
func inline(t *testing.T, value *yaml.Node) string {
	t.Helper()
	var v any
	if err := value.Load(&v); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// TestSchemaKeys: values.schema.json takes in configuration and policies the keys that their own schemas do, but for those
// that the chart sets.
func TestSchemaKeys(t *testing.T) {
	t.Parallel()
	type schema struct {
		Properties           map[string]json.RawMessage
		AdditionalProperties json.RawMessage
	}
	load := func(b []byte) schema {
		t.Helper()
		var s schema
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	read := func(path string) schema {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return load(b)
	}
	values := read("rotator/values.schema.json").Properties
	for _, c := range []struct {
		of           string
		chart, whole schema
		sets         []string
	}{
		{"config", load(values["config"]), read("../../internal/config/rotator.schema.json"), []string{"state", "policies", "listen", "socket"}},
		{"policies", load(load(values["policies"]).AdditionalProperties), read("../../policies/policy.schema.json"), []string{"name"}},
	} {
		want := slices.DeleteFunc(slices.Sorted(maps.Keys(c.whole.Properties)), func(key string) bool { return slices.Contains(c.sets, key) })
		if got := slices.Sorted(maps.Keys(c.chart.Properties)); !slices.Equal(got, want) || string(c.chart.AdditionalProperties) != "false" {
			t.Errorf("%s takes %q, want %q and nothing else", c.of, got, want)
		}
	}
}

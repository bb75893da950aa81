package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/package-url/packageurl-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/encoding/protojson"
)

// schemas is the module that holds the schemas of CycloneDX, as its makers publish them.
const schemas = "github.com/CycloneDX/cyclonedx-go@v0.12.0"

// lists: they are what CycloneDX says, in all that a reader may rely on, and name each part as others do.
func lists(t *testing.T, dir string) {
	t.Helper()
	schema := cyclonedx(t)
	for of, part := range map[string]string{
		"rotator": "pkg:oci/rotator@", "rotator-linux-amd64": "pkg:golang/stdlib@1.", "rotator-linux-arm64": "pkg:golang/filippo.io/age@v1.",
	} {
		text := read(t, dir, of+".cdx.json")
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(instance); err != nil {
			t.Errorf("%s: %v", of, err)
		}
		var list struct {
			SerialNumber string
			Components   []component
			Dependencies []struct{ DependsOn []string }
		}
		if err := json.Unmarshal(text, &list); err != nil || len(list.Dependencies) != 1 || list.SerialNumber == "" {
			t.Fatalf("%s: %v, %+v", of, err, list)
		}
		if !slices.ContainsFunc(list.Dependencies[0].DependsOn, func(ref string) bool { return strings.HasPrefix(ref, part) }) {
			t.Errorf("%s does not name %s: %q", of, part, list.Dependencies[0].DependsOn)
		}
		for i, c := range list.Components {
			if p, err := packageurl.FromString(c.PURL); err != nil || p.Normalize() != nil {
				t.Errorf("%s: %s: %v", of, c.PURL, err)
			}
			if list.Dependencies[0].DependsOn[i] != c.Ref {
				t.Errorf("%s: nothing depends on %s", of, c.Ref)
			}
		}
	}
}

// cyclonedx is the schema of version 1.5, with those that it refers to.
func cyclonedx(t *testing.T) *jsonschema.Schema {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", schemas)
	download.Env = append(os.Environ(), "GOFLAGS=")
	out, err := download.Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for name, file := range map[string]string{
		"bom-1.5.schema.json": "bom-1.5.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		content, err := jsonschema.UnmarshalJSON(strings.NewReader(string(read(t, module.Dir, "schema", file))))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, content); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// provenances: the statement is one of in-toto's, its predicate one of SLSA's, by the rules of those who define them.
func provenances(t *testing.T, dir string) {
	t.Helper()
	var statement intoto.Statement
	if err := protojson.Unmarshal(read(t, dir, "provenance.json"), &statement); err != nil {
		t.Fatal(err)
	}
	if err := statement.Validate(); err != nil {
		t.Error(err)
	}
	predicate, err := statement.GetPredicate().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var made provenance.Provenance
	if err := protojson.Unmarshal(predicate, &made); err != nil {
		t.Fatal(err)
	}
	if err := made.Validate(); err != nil {
		t.Error(err)
	}
	for _, uri := range []string{made.GetBuildDefinition().GetBuildType(), made.GetRunDetails().GetBuilder().GetId()} {
		if !strings.HasPrefix(uri, homepage) {
			t.Errorf("%q is no URI", uri)
		}
	}
}

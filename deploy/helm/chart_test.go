//go:build deploy

package helm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rotator/internal/testenv/kubetest"
	"rotator/internal/testenv/testcache"
)

const chart = "rotator"

// shapes are the ways to install that every test tries: files of values in testdata.
var shapes = []string{"sqlite", "postgres"}

// run runs a built tool and returns what it says.
func run(t *testing.T, tool testcache.Program, env []string, args ...string) (string, error) {
	t.Helper()
	binary, err := tool.Build(t.Context(), func(what string) { t.Log(what) })
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, args...)
	home := t.TempDir()
	command.Env = append(append(os.Environ(), "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home), env...)
	out, err := command.CombinedOutput()
	return string(out), err
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, kubetest.Helm, nil, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func values(shape string) string { return filepath.Join("testdata", shape+".yaml") }

func TestLint(t *testing.T) {
	t.Parallel()
	helm(t, "lint", "--strict", chart)
	for _, shape := range shapes {
		helm(t, "lint", "--strict", chart, "-f", values(shape))
	}
}

// TestNothingConfigured: the chart's own values install nothing, and say what is missing.
func TestNothingConfigured(t *testing.T) {
	t.Parallel()
	out, err := run(t, kubetest.Helm, nil, "template", "r", chart)
	if err == nil || !strings.Contains(out, "at least one team") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestUnittest(t *testing.T) {
	t.Parallel()
	if out, err := run(t, kubetest.Unittest, nil, "--strict", chart); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestSchema: values that could not work, or that hold a secret, are refused before anything is rendered.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, shape, set, want string }{
		{"rights for the account of every pod of the namespace", "sqlite", "serviceAccount.create=false", "serviceAccount/name"},
		{"several replicas with SQLite", "sqlite", "replicas=2", "journal/type"},
		{"PostgreSQL without its address", "sqlite", "journal.type=postgres", "credential"},
		{"a key inline", "sqlite", "config.teams.research.management_key=xai-token-abc", "management_key"},
		{"a Vault token inline", "postgres", "config.stores.vault.auth.token=hvs.abc", "token"},
		{"a key of the configuration that is none", "sqlite", "config.limit.watch=20m", "'limit'"},
		{"a key of a policy that is none", "sqlite", "policies.chat.maxage=45d", "'maxage'"},
		{"a header of traces inline", "sqlite", "config.traces.headers.Authorization=hvs.abc", "Authorization"},
		{"a webhook's secret inline", "sqlite", "config.notify[0].secret=hvs.abc", "secret"},
		{"no teams", "sqlite", "config.teams=null", "teams"},
		{"no stores", "sqlite", "config.stores=null", "stores"},
		{"the journal in config", "sqlite", "config.state=sqlite:/tmp/x", "config"},
		{"listen in config", "sqlite", "config.listen=:1", "config"},
		{"a folder of others without limits", "sqlite", "policyFolders[0].configMap=a,policyFolders[0].name=a", "allow"},
		{"an unknown value", "sqlite", "replicaCount=2", "replicaCount"},
		{"an unknown type of store", "sqlite", "config.stores.cluster.type=consul", "type"},
		{"a policy without targets", "sqlite", "policies.chat.targets=null", "targets"},
		{"a policy that is named twice", "sqlite", "policies.chat.name=other", "policies"},
		{"a policy's name", "sqlite", "policies.Chat.team=a", "Chat"},
		{"a target that is a Secret beside one", "sqlite", "targets[0].secret=chat.rotator", "secret"},
		{"a target that restarts a pod", "sqlite", "targets[0].restart[0]=pod/chat", "restart"},
		{"a credential that leaves its folder", "sqlite", "credentials[0].name=../x", "name"},
		{"a token without an audience", "postgres", "tokens[0].audience=", "audience"},
		{"a token that is too short", "postgres", "tokens[0].expirationSeconds=60", "expirationSeconds"},
		{"a digest cut short", "sqlite", "image.digest=sha256:abc", "digest"},
		{"a shared file system", "sqlite", "journal.sqlite.accessMode=ReadWriteMany", "accessMode"},
		{"a port", "sqlite", "service.port=70000", "port"},
		{"too little time to stop", "sqlite", "terminationGracePeriodSeconds=10", "terminationGracePeriodSeconds"},
		{"a root user", "sqlite", "podSecurityContext.runAsNonRoot=false", "runAsNonRoot"},
		{"a part of the replicas", "postgres", "podDisruptionBudget.maxUnavailable=some", "maxUnavailable"},
		{"a label that is a number", "sqlite", "commonLabels.cost=7", "cost"},
		{"a cluster's name", "sqlite", "cluster=prod/eu", "cluster"},
		{"a name", "sqlite", "fullnameOverride=Rotator", "fullnameOverride"},
		{"a spread without a key", "postgres", "topologySpreadConstraints[0].maxSkew=1", "topologyKey"},
		{"replicas as text", "postgres", "replicas=three", "replicas"},
		{"a level of logs", "sqlite", "logLevel=verbose", "logLevel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, kubetest.Helm, nil, "template", "r", chart, "-f", values(c.shape), "--set", c.set)
			if err == nil || !strings.Contains(out, "don't meet the specifications of the schema") || !strings.Contains(out, c.want) {
				t.Fatalf("%s is not refused for %q: %v\n%.2000s", c.set, c.want, err, out)
			}
			if strings.Contains(out, "xai-token-abc") || strings.Contains(out, "hvs.abc") {
				t.Fatalf("the refusal shows the secret:\n%s", out)
			}
		})
	}
}

// TestCredentialsAreGiven: a reference to a file that no pod would find is refused, and nothing is installed.
func TestCredentialsAreGiven(t *testing.T) {
	t.Parallel()
	for shape, set := range map[string]string{"postgres": "journal.postgres.credential=database", "sqlite": "config.teams.research.management_key=credential:database"} {
		out, err := run(t, kubetest.Helm, nil, "template", "r", chart, "-f", values(shape), "--set", set)
		if err == nil || !strings.Contains(out, "credential:database, and `credentials` has no entry") {
			t.Errorf("%s: %v\n%.2000s", set, err, out)
		}
	}
}

// TestSaidTwice: a label or a variable that several values name, or the chart too, is in a manifest once; what selects
// the pods stays as it is.
func TestSaidTwice(t *testing.T) {
	t.Parallel()
	for _, o := range render(t, "rotator", "-f", values("postgres"), "--set",
		`commonLabels.app\.kubernetes\.io/name=common,commonLabels.release=common,podLabels.app\.kubernetes\.io/instance=pods,podLabels.release=pods`,
		"--set", "env[0].name=GOMEMLIMIT,env[0].value=1GiB") {
		kind, name := o.text("kind"), o.text("metadata", "labels", "app.kubernetes.io/name")
		if name != "" && !strings.HasPrefix(name, "rotator") {
			t.Errorf("%s has the name %s", kind, name)
		}
		if is := o.text("metadata", "labels", "release"); kind == "ServiceMonitor" && is != "prometheus" {
			t.Errorf("its own label gave way to %s", is)
		}
		if kind != "Deployment" {
			continue
		}
		template, _ := o["spec"].(map[string]any)["template"].(map[string]any)
		for label, want := range map[string]string{"app.kubernetes.io/name": "rotator", "app.kubernetes.io/instance": "r", "release": "pods"} {
			if is := object(template).text("metadata", "labels", label); is != want {
				t.Errorf("pods have %s: %s, want %s", label, is, want)
			}
		}
		text, err := yaml.Dump(template)
		if err != nil || strings.Count(string(text), "GOMEMLIMIT") != 1 {
			t.Errorf("%v: the variable occurs %d times", err, strings.Count(string(text), "GOMEMLIMIT"))
		}
	}
}

// object is a rendered manifest.
type object map[string]any

func (o object) text(path ...string) string {
	var at any = map[string]any(o)
	for _, step := range path {
		members, _ := at.(map[string]any)
		at = members[step]
	}
	s, _ := at.(string)
	return s
}

// render returns all manifests of the chart, its hooks among them.
func render(t *testing.T, namespace string, args ...string) []object {
	t.Helper()
	return renderAs(t, "r", namespace, args...)
}

func renderAs(t *testing.T, release, namespace string, args ...string) []object {
	t.Helper()
	binary, err := kubetest.Helm.Build(t.Context(), func(what string) { t.Log(what) })
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, append([]string{"template", release, chart, "-n", namespace}, args...)...)
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	var all []object
	for {
		var o map[string]any
		if err := loader.Load(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil { // a key that is there twice, say
			t.Fatal(err)
		}
		if len(o) > 0 {
			all = append(all, o)
		}
	}
	if len(all) < 6 {
		t.Fatalf("only %d objects are rendered", len(all))
	}
	return all
}

// TestNamesAreTexts: names that are legal in a cluster, and that YAML takes for a number or a truth, arrive as they are.
func TestNamesAreTexts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"1e3", "123", "y", "off"} {
		for _, shape := range []string{"sqlite", "postgres"} {
			var sets []string
			for _, value := range []string{
				"serviceAccount.name", "targets[0].namespace", "targets[0].secret", "credentials[0].secret", "priorityClassName",
				"journal.sqlite.storageClass", "journal.sqlite.existingClaim",
			} {
				sets = append(sets, "--set-string", value+"="+name)
			}
			if name == "off" { // the claim is made
				sets = sets[:len(sets)-2]
			}
			for _, o := range renderAs(t, name, name, append(sets, "-f", values(shape))...) {
				texts(t, shape+" "+o.text("kind"), map[string]any(o))
			}
		}
	}
}

// texts checks that whatever names something is a text, below a part of an object.
func texts(t *testing.T, path string, part any) {
	t.Helper()
	switch part := part.(type) {
	case []any:
		for i, p := range part {
			texts(t, fmt.Sprintf("%s[%d]", path, i), p)
		}
	case map[string]any:
		for key, p := range part {
			label := strings.HasSuffix(path, "abels") || strings.HasSuffix(path, ".selector")
			if _, ok := p.(string); !ok && p != nil && (strings.HasSuffix(strings.ToLower(key), "name") || key == "namespace" || label && key != "matchLabels") {
				t.Errorf("%s.%s is %T %v", path, key, p, p)
			}
			texts(t, path+"."+key, p)
		}
	}
}

//go:build deploy

package helm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rotator/internal/testenv/kubetest"
	"rotator/internal/testenv/testcache"
)

// operator is where the custom resources of the Prometheus operator are defined.
const operator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// define brings the Prometheus operator's resources into the cluster.
func define(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	var module struct{ Dir string }
	err := testcache.Fetch(t.Context(), func() error {
		download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", operator)
		download.Env = append(os.Environ(), "GOFLAGS=")
		out, err := download.Output()
		return errors.Join(err, json.Unmarshal(out, &module))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		content, err := os.ReadFile(filepath.Join(module.Dir, "example/prometheus-operator-crd/monitoring.coreos.com_"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var crd map[string]any
		if err := yaml.Load(content, &crd); err != nil {
			t.Fatal(err)
		}
		c.Apply(t, "apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+name+".monitoring.coreos.com", crd)
		await(t, func() bool {
			status, _, err := c.Call(t.Context(), c.Token, http.MethodGet, "apis/monitoring.coreos.com/v1/"+name, nil)
			return err == nil && status == http.StatusOK // until then 404, and 429 while the storage is made
		})
	}
}

// path is where the API keeps the object.
func path(o object, namespace string) string {
	group := "apis/" + o.text("apiVersion")
	if o.text("apiVersion") == "v1" {
		group = "api/v1"
	}
	plural := strings.ToLower(o.text("kind")) + "s"
	if strings.HasSuffix(plural, "ys") {
		plural = strings.TrimSuffix(plural, "ys") + "ies"
	}
	if own := o.text("metadata", "namespace"); own != "" {
		namespace = own
	}
	return fmt.Sprintf("%s/namespaces/%s/%s/%s", group, namespace, plural, o.text("metadata", "name"))
}

// TestServerAccepts has the API server validate every rendered object strictly, and admit the pods into a namespace in
// which only restricted ones may run.
func TestServerAccepts(t *testing.T) {
	c := kubetest.Shared(t)
	define(t, c)
	consumers(t, c)
	namespace, restricted := c.Namespace(t, nil), c.Namespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	for _, name := range []string{"r-rotator", "xai-keys", "own", "default"} {
		c.ServiceAccount(t, restricted, name)
	}
	for _, way := range []struct{ name, shape, set string }{
		{"one replica", "sqlite", ""},
		{"several", "postgres", ""},
		{"a volume of a class", "sqlite", "journal.sqlite.storageClass=fast,journal.sqlite.accessMode=ReadWriteOncePod"},
		{"a volume that is there", "sqlite", "journal.sqlite.existingClaim=mine"},
		{"no network policy, no way in", "sqlite", "networkPolicy.enabled=false"},
		{"no port but what is needed", "postgres", "networkPolicy.ports=null,networkPolicy.to=null,networkPolicy.from=null"},
		{"a service account of others", "sqlite", "serviceAccount.create=false,serviceAccount.name=own,targets=null"},
		{"another name", "sqlite", "fullnameOverride=xai-keys,service.port=9000,service.annotations.a=b"},
		{"the cluster chooses the user", "postgres", "podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null,podSecurityContext.fsGroup=null"},
		{"half of the replicas", "postgres", "podDisruptionBudget.maxUnavailable=50%,replicas=10"},
		{"none", "postgres", "replicas=0"},
		{"nothing on all objects", "postgres", "commonLabels=null,commonAnnotations=null,podLabels=null,podAnnotations=null"},
		{"spread otherwise", "postgres", "topologySpreadConstraints[0].maxSkew=2,topologySpreadConstraints[0].topologyKey=rack,topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule"},
		{"policies of others", "sqlite", "policies=null,existingPolicies=mine"},
		{"one replica on PostgreSQL", "postgres", "replicas=1,serviceMonitor.enabled=false,prometheusRule.enabled=false"},
	} {
		t.Run(way.name, func(t *testing.T) {
			args := []string{"-f", values(way.shape)}
			if way.set != "" {
				args = append(args, "--set", way.set)
			}
			for _, o := range render(t, namespace, args...) {
				accepted := func(o object, in string) {
					if status, answer := strict(t, c, o, in); status > 299 {
						t.Errorf("%s %s: status %d: %s", o.text("kind"), o.text("metadata", "name"), status, answer)
					}
				}
				switch o.text("kind") {
				case "Pod":
					accepted(o, restricted)
				case "Deployment":
					template := o["spec"].(map[string]any)["template"].(map[string]any)
					accepted(object{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "daemon"}, "spec": template["spec"]}, restricted)
					accepted(o, namespace)
				default:
					accepted(o, namespace)
				}
			}
		})
	}
	t.Run("the namespace refuses what is not restricted", func(t *testing.T) {
		pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "r"},
			"spec": map[string]any{"containers": []any{map[string]any{"name": "a", "image": "a"}}}}
		if status, _ := strict(t, c, pod, restricted); status != http.StatusForbidden {
			t.Errorf("status %d: this test cannot fail", status)
		}
	})
	t.Run("unknown fields are refused", func(t *testing.T) {
		odd := object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "odd"}, "dat": map[string]any{}}
		if status, _ := strict(t, c, odd, namespace); status < 300 {
			t.Errorf("status %d: this test cannot fail", status)
		}
	})
}

// strict asks the API server for an object, without effect.
func strict(t *testing.T, c *kubetest.Cluster, o object, namespace string) (int, string) {
	t.Helper()
	to := path(o, namespace)
	to = to[:strings.LastIndex(to, "/")]
	status, answer, err := c.Call(t.Context(), c.Token, http.MethodPost, to+"?dryRun=All&fieldValidation=Strict", o)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(answer)
}

// consumers makes the namespace that the targets in testdata/sqlite.yaml are in.
func consumers(t *testing.T, c *kubetest.Cluster) {
	t.Helper()
	c.Apply(t, "api/v1/namespaces/rotator-consumers", map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "rotator-consumers"},
	})
}

// TestLifecycle installs, upgrades, rolls back and removes a release.
func TestLifecycle(t *testing.T) {
	c := kubetest.Shared(t)
	define(t, c)
	consumers(t, c)
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			namespace := c.Namespace(t, nil)
			kube := func(args ...string) {
				t.Helper()
				helm(t, append(args, "-n", namespace, "--kube-apiserver", c.Address, "--kube-token", c.Token, "--kube-ca-file", c.CAFile(t))...)
			}
			deployment := func() (d object) {
				t.Helper()
				c.Do(t, http.MethodGet, "apis/apps/v1/namespaces/"+namespace+"/deployments/r-rotator", nil, &d)
				return d
			}
			stands := func() (found, missing []string) {
				t.Helper()
				for _, o := range render(t, namespace, "-f", values(shape)) {
					at := path(o, namespace)
					if o.text("metadata", "annotations", "helm.sh/hook") != "" {
						continue
					}
					if c.Do(t, http.MethodGet, at, nil, nil) {
						found = append(found, at)
					} else {
						missing = append(missing, at)
					}
				}
				return found, missing
			}
			kube("install", "r", chart, "-f", values(shape))
			if _, missing := stands(); len(missing) > 0 {
				t.Fatalf("not installed: %q", missing)
			}
			first := started(deployment())
			kube("upgrade", "r", chart, "-f", values(shape), "--set", "podLabels.example=changed,config.limits.watch=20m")
			upgraded := deployment()
			if labels(upgraded)["example"] != "changed" || started(upgraded) == first {
				t.Errorf("not upgraded: %v, %s", labels(upgraded), started(upgraded))
			}
			kube("rollback", "r", "1")
			if back := deployment(); labels(back)["example"] != nil || started(back) != first {
				t.Errorf("not rolled back: %v, %s", labels(back), started(back))
			}
			kube("uninstall", "r")
			found, _ := stands()
			for _, at := range found {
				if !strings.Contains(at, "/persistentvolumeclaims/") {
					t.Errorf("not removed: %s", at)
				}
			}
			if kept := len(found) == 1; kept != (shape == "sqlite") {
				t.Errorf("left after uninstall: %q", found)
			}
		})
	}
}

// TestRestarts: pods are recreated for what the daemon reads at its start alone, and for nothing that it reads again.
func TestRestarts(t *testing.T) {
	t.Parallel()
	checksum := func(set string) string {
		t.Helper()
		all := render(t, "rotator", "-f", values("postgres"), "--set", set)
		i := slices.IndexFunc(all, func(o object) bool { return o.text("kind") == "Deployment" })
		return started(all[i])
	}
	before := checksum("replicas=3")
	for set, restarts := range map[string]bool{
		"config.limits.watch=20m": true, "service.port=9000": true, "config.notify[0].url=https://hooks.example": true,
		"config.traces.endpoint=https://collector.example:4318": true, "config.listen_tls.cert=/a,config.listen_tls.key=/b": true,
		"config.stores.aws.region=eu-west-2": false, "config.teams.other.management_key=file:/other": false,
	} {
		if got := checksum(set); (got != before) != restarts {
			t.Errorf("%s: recreated is %v", set, !restarts)
		}
	}
}

// TestJournalMoves takes a release from SQLite to PostgreSQL and back: nothing that cannot be changed is in the way, and
// the volume stays.
func TestJournalMoves(t *testing.T) {
	c := kubetest.Shared(t)
	define(t, c)
	consumers(t, c)
	namespace := c.Namespace(t, nil)
	for i, shape := range []string{"sqlite", "postgres", "sqlite"} {
		helm(t, "upgrade", "--install", "r", chart, "-f", values(shape),
			"-n", namespace, "--kube-apiserver", c.Address, "--kube-token", c.Token, "--kube-ca-file", c.CAFile(t))
		var d struct {
			Spec struct {
				Replicas int
				Strategy struct {
					Type          string
					RollingUpdate map[string]any
				}
			}
		}
		c.Do(t, http.MethodGet, "apis/apps/v1/namespaces/"+namespace+"/deployments/r-rotator", nil, &d)
		rolls := shape == "postgres"
		if (d.Spec.Strategy.Type == "RollingUpdate") != rolls || (d.Spec.Strategy.RollingUpdate != nil) != rolls || (d.Spec.Replicas > 1) != rolls {
			t.Errorf("%d, %s: %+v", i, shape, d.Spec)
		}
		if !c.Do(t, http.MethodGet, "api/v1/namespaces/"+namespace+"/persistentvolumeclaims/r-rotator", nil, nil) {
			t.Errorf("%d, %s: the volume is gone", i, shape)
		}
	}
}

// podMetadata is that of a Deployment's template.
func podMetadata(d object, what string) map[string]any {
	spec, _ := d["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	metadata, _ := template["metadata"].(map[string]any)
	found, _ := metadata[what].(map[string]any)
	return found
}

func labels(d object) map[string]any { return podMetadata(d, "labels") }

func started(d object) string { return fmt.Sprint(podMetadata(d, "annotations")["checksum/start"]) }

//go:build deploy

package helm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/kubetest"
	"rotator/internal/testenv/porttest"
)

// installed is a release of the chart, for the values of one replica and others beside, and a simulated xAI.
type installed struct {
	c                      *kubetest.Cluster
	namespace, binary, xai string
	token                  string // file with a token of the chart's service account
}

// install installs the chart. The set are as `helm --set` takes them.
func install(t *testing.T, set ...string) *installed {
	t.Helper()
	c := kubetest.Shared(t)
	dir := t.TempDir()
	r := &installed{c: c, namespace: c.Namespace(t, nil), binary: filepath.Join(dir, "rotator"), token: filepath.Join(dir, "token")}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", r.binary, "rotator/cmd/rotator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key := filepath.Join(dir, "management-key")
	r.xai = sandbox(t, r.binary, key)
	management, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	r.secret(t, "xai", "management-key", string(management))
	args := []string{"install", "r", chart, "-f", values("sqlite"),
		"-n", r.namespace, "--kube-apiserver", c.Address, "--kube-token", c.Token, "--kube-ca-file", c.CAFile(t)}
	for _, s := range append(set, "targets[0].namespace="+r.namespace, "policies.chat.targets[0].path="+r.namespace+"/chat",
		"config.xai.management_url="+r.xai+",config.xai.inference_url="+r.xai, "config.limits.min_interval=1s,config.limits.quarantine=1s",
		"config.stores.cluster.server="+c.Address+",config.stores.cluster.token=file:"+r.token+",config.stores.cluster.ca_cert="+c.CAFile(t)+",config.stores.cluster.timeout=5m") {
		args = append(args, "--set", s)
	}
	helm(t, args...)
	token := c.ServiceAccountToken(t, r.namespace, "r-rotator")
	write(t, r.token, token)
	await(t, func() bool { // RBAC comes to be known in the server after a moment
		status, _, err := c.Call(t.Context(), token, http.MethodGet, "api/v1/namespaces/"+r.namespace+"/secrets/chat", nil)
		return err == nil && status == http.StatusNotFound
	})
	return r
}

// secret makes a Secret of one field.
func (r *installed) secret(t *testing.T, name, field, value string) {
	t.Helper()
	r.c.Do(t, http.MethodPost, "api/v1/namespaces/"+r.namespace+"/secrets",
		map[string]any{"metadata": map[string]any{"name": name}, "stringData": map[string]any{field: value}}, nil)
}

// pod runs the program outside of the cluster as the chart's pods would.
type pod struct {
	t           *testing.T
	binary, dir string
}

// pod lays out what the kubelet would bring a pod: the chart's ConfigMaps, and the Secrets that its Deployment names.
func (r *installed) pod(t *testing.T, name string) *pod {
	t.Helper()
	p := &pod{t, r.binary, filepath.Join(t.TempDir(), name)}
	for _, name := range []string{"r-rotator", "r-rotator-policies"} {
		mount(t, r.c, r.namespace, name, p.dir)
	}
	var d struct {
		Spec struct {
			Template struct {
				Spec struct {
					Volumes []struct {
						Name      string
						Projected struct {
							Sources []struct {
								Secret struct {
									Name  string
									Items []struct{ Key, Path string }
								}
							}
						}
					}
				}
			}
		}
	}
	r.c.Do(t, http.MethodGet, "apis/apps/v1/namespaces/"+r.namespace+"/deployments/r-rotator", nil, &d)
	for _, volume := range d.Spec.Template.Spec.Volumes {
		if volume.Name != "credentials" {
			continue
		}
		for _, source := range volume.Projected.Sources {
			var held struct{ Data map[string][]byte }
			r.c.Do(t, http.MethodGet, "api/v1/namespaces/"+r.namespace+"/secrets/"+source.Secret.Name, nil, &held)
			for _, item := range source.Secret.Items {
				write(t, filepath.Join(p.dir, "credentials", item.Path), string(held.Data[item.Key]))
			}
		}
	}
	return p
}

func (p *pod) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, p.binary, args...)
	c.Env = append(os.Environ(), "ROTATOR_CONFIG="+filepath.Join(p.dir, "r-rotator", "rotator.yaml"), "CREDENTIALS_DIRECTORY="+filepath.Join(p.dir, "credentials"))
	return c
}

// rotator runs a command, which must succeed, and returns its answer.
func (p *pod) rotator(args ...string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Minute)
	defer cancel()
	c := p.command(ctx, args...)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("rotator %s: %v\n%s%s", strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// run starts the daemon; stop kills it, as the end of the test does.
func (p *pod) run() (stop func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	c := p.command(ctx, "run")
	c.Stderr = p.t.Output()
	if err := c.Start(); err != nil {
		p.t.Fatal(err)
	}
	stop = func() { cancel(); _ = c.Wait() } // it was killed
	p.t.Cleanup(stop)
	await(p.t, func() bool { _, err := os.Stat(filepath.Join(p.dir, "rotator.sock")); return err == nil })
	return stop
}

type standing struct {
	State, Fingerprint string
	KeyID              string `json:"key_id"`
}

// status is that of the one policy.
func (p *pod) status() standing {
	p.t.Helper()
	var rows []standing
	if err := json.Unmarshal([]byte(p.rotator("status", "-o", "json")), &rows); err != nil || len(rows) != 1 {
		p.t.Fatalf("status: %v, %+v", err, rows)
	}
	return rows[0]
}

// until waits until the policy has a key and is in a state.
func (p *pod) until(state string) {
	p.t.Helper()
	await(p.t, func() bool { s := p.status(); return s.State == state && s.KeyID != "" })
}

// sandbox starts a simulated xAI and returns its address.
func sandbox(t *testing.T, binary, key string) string {
	t.Helper()
	address := porttest.Free(t)
	command := exec.CommandContext(t.Context(), binary, "sandbox", "--team", "research", "--key-file", key, "--listen", address, "--propagation", "100ms")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	go func() { // until it ends
		for lines := bufio.NewScanner(output); lines.Scan(); {
		}
	}()
	await(t, func() bool { info, err := os.Stat(key); return err == nil && info.Size() > 0 }) // it is there before it is filled
	return "http://" + address
}

// mount lays a ConfigMap out as the kubelet does, as links into a folder that is swapped as a whole. The paths that the
// chart knows lead into dir.
func mount(t *testing.T, c *kubetest.Cluster, namespace, name, dir string) {
	t.Helper()
	var held struct{ Data map[string]string }
	if !c.Do(t, http.MethodGet, "api/v1/namespaces/"+namespace+"/configmaps/"+name, nil, &held) || len(held.Data) == 0 {
		t.Fatalf("there is nothing in the ConfigMap %s", name)
	}
	folder := filepath.Join(dir, name)
	version := "..2026_01_01_00_00_00.1"
	if err := os.MkdirAll(filepath.Join(folder, version), 0o755); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{"..data": version}
	for file, content := range held.Data {
		content = strings.NewReplacer(
			"/etc/rotator/policies", filepath.Join(dir, "r-rotator-policies"),
			"/var/lib/rotator/", dir+"/",
			"/run/rotator/", dir+"/",
			"listen: :8420", "listen: 127.0.0.1:0",
		).Replace(content)
		write(t, filepath.Join(folder, version, file), content)
		links[file] = filepath.Join("..data", file)
	}
	for link, to := range links {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(fmt.Errorf("lay out %s: %w", name, err))
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

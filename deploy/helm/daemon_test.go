//go:build deploy

package helm

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/kubetest"
)

// TestRotation installs the chart and runs the program outside of the cluster as its pod would: with the ConfigMaps that
// the chart made, laid out as the kubelet does, and a token of its service account. It checks, rotates against a
// simulated xAI, and the Secret then holds a key that works.
func TestRotation(t *testing.T) {
	t.Parallel()
	c := kubetest.Shared(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "rotator")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "rotator/cmd/rotator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key := filepath.Join(dir, "credentials", "management-key")
	token := filepath.Join(dir, "token")
	xai := sandbox(t, binary, key)

	namespace := c.Namespace(t, nil)
	helm(t, "install", "r", chart, "-f", values("sqlite"),
		"-n", namespace, "--kube-apiserver", c.Address, "--kube-token", c.Token, "--kube-ca-file", c.CAFile(t),
		"--set", "targets[0].namespace="+namespace,
		"--set", "policies.chat.targets[0].path="+namespace+"/chat",
		"--set", "config.xai.management_url="+xai+",config.xai.inference_url="+xai,
		"--set", "config.stores.cluster.server="+c.Address+",config.stores.cluster.token=file:"+token+",config.stores.cluster.ca_cert="+c.CAFile(t))
	write(t, token, c.ServiceAccountToken(t, namespace, "r-rotator"))
	for _, name := range []string{"r-rotator", "r-rotator-policies"} {
		mount(t, c, namespace, name, dir)
	}
	rotator := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, binary, args...)
		command.Env = append(os.Environ(), "ROTATOR_CONFIG="+filepath.Join(dir, "r-rotator", "rotator.yaml"), "CREDENTIALS_DIRECTORY="+filepath.Dir(key))
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("rotator %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	await(t, func() bool { // RBAC comes to be known in the server after a moment
		status, _, err := c.Call(t.Context(), c.ServiceAccountToken(t, namespace, "r-rotator"), http.MethodGet, "api/v1/namespaces/"+namespace+"/secrets/chat", nil)
		return err == nil && status == http.StatusNotFound
	})
	rotator("check")
	rotator("rotate", "chat")

	var made struct {
		Metadata struct{ Annotations map[string]string }
		Data     map[string]string
	}
	if !c.Do(t, http.MethodGet, "api/v1/namespaces/"+namespace+"/secrets/chat", nil, &made) {
		t.Fatal("there is no Secret")
	}
	value, err := base64.StdEncoding.DecodeString(made.Data["api_key"])
	if err != nil || !strings.HasPrefix(string(value), "xai-") {
		t.Fatalf("the field is no key: %v", err)
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, xai+"/v1/api-key", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+string(value))
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("xAI answers the key in the Secret with %d", answer.StatusCode)
	}
	if c.Do(t, http.MethodGet, "api/v1/namespaces/"+namespace+"/secrets/chat.rotator", nil, nil) {
		t.Error("the Secret beside it is left behind")
	}
	var status []struct {
		Policy, State, Fingerprint string
	}
	if err := json.Unmarshal([]byte(rotator("status", "-o", "json")), &status); err != nil || len(status) != 1 {
		t.Fatalf("status: %v, %+v", err, status)
	}
	if notes := made.Metadata.Annotations["rotator/keys"]; !strings.Contains(notes, status[0].Fingerprint) {
		t.Errorf("the annotation %s does not tell the key that status tells: %+v", notes, status)
	}
}

// sandbox starts a simulated xAI and returns its address.
func sandbox(t *testing.T, binary, key string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(key), 0o700); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
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
	await(t, func() bool { _, err := os.Stat(key); return err == nil })
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
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

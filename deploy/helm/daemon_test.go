//go:build deploy

package helm

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"rotator/internal/testenv/postgrestest"
)

// TestRotation installs the chart and has its pod check and rotate against a simulated xAI: the Secret then holds a key
// that works.
func TestRotation(t *testing.T) {
	t.Parallel()
	r := install(t)
	p := r.pod(t, "one")
	p.rotator("check")
	p.rotator("rotate", "chat")

	var made struct {
		Metadata struct{ Annotations map[string]string }
		Data     map[string]string
	}
	if !r.c.Do(t, http.MethodGet, "api/v1/namespaces/"+r.namespace+"/secrets/chat", nil, &made) {
		t.Fatal("there is no Secret")
	}
	value, err := base64.StdEncoding.DecodeString(made.Data["api_key"])
	if err != nil || !strings.HasPrefix(string(value), "xai-") {
		t.Fatalf("the field is no key: %v", err)
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.xai+"/v1/api-key", nil)
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
	if r.c.Do(t, http.MethodGet, "api/v1/namespaces/"+r.namespace+"/secrets/chat.rotator", nil, nil) {
		t.Error("the Secret beside it is left behind")
	}
	if notes := made.Metadata.Annotations["rotator/keys"]; !strings.Contains(notes, p.status().Fingerprint) {
		t.Errorf("the annotation %s does not tell the key that status tells: %+v", notes, p.status())
	}
}

// TestReplicas has two pods share a journal in PostgreSQL, whose address is in a Secret that was there before: what one
// did the other knows, and goes on when the first is gone.
func TestReplicas(t *testing.T) {
	t.Parallel()
	r := install(t, "replicas=2,journal.type=postgres,journal.postgres.credential=postgres",
		"credentials[1].name=postgres,credentials[1].secret=rotator-postgres,credentials[1].key=url", "policies.chat.retire.overlap=0s,policies.chat.retire.soak=0s")
	r.secret(t, "rotator-postgres", "url", postgrestest.Start(t).Database(t))
	one, other := r.pod(t, "one"), r.pod(t, "other")
	stop := one.run()
	other.run()
	one.until("idle") // an empty target is due at once
	first := one.status()
	if got := other.status(); got != first {
		t.Errorf("one replica knows %+v, the other %+v", first, got)
	}
	stop()
	other.rotator("rotate", "chat", "--wait", "retired")
	other.until("idle")
	if second := other.status(); second.KeyID == first.KeyID {
		t.Errorf("the replica that is left did not rotate: %+v", second)
	}
}

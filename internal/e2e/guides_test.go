package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// TestGuidesOnly: with an xAI that serves what its two public guides describe, and nothing else, the binary rotates three
// times by its schedule over Vault, AWS and a file, and is killed once in the middle. No consumer's call fails, and xAI is
// left with one key.
func TestGuidesOnly(t *testing.T) {
	t.Parallel()
	p := newParts(t, xaisim.Options{}) // its own simulator is unused: the sandbox is one in another process
	p.xaiURL, p.key = sandbox(t, p.dir, 5*time.Millisecond, "--guides-only")
	p.vault.Write(t, p.mount, "llm/chat", `{"other":"kept"}`)
	p.aws.Region(region).Put("prod/chat", `{"other":"kept"}`)
	p.write(t, "secrets/chat.json", `{"other": "kept"}`)
	stores := p.vaultStore(t, p.vault.Address, "3s", "llm/chat") + p.fileStore() +
		fmt.Sprintf("  aws: {type: aws, region: %s, endpoint: %q}\n", region, p.awsURL)
	d := newDaemon(t, p, "watch: 2s, quarantine: 3s", stores)
	d.write(t, "rotator.yaml", strings.Replace(d.read(t, "rotator.yaml"), "teams: {research: {", "teams: {research: {id: "+team+", ", 1))
	d.env = []string{"AWS_ACCESS_KEY_ID=AKIDROTATOR", "AWS_SECRET_ACCESS_KEY=rotator-secret"}
	d.complain(t)
	schedule := func(every string) {
		d.write(t, "policies/chat.yaml", strings.Replace(fmt.Sprintf(threePolicy, every, overlap), "adopt: true\n", "", 1))
	}
	schedule("@every 3s")
	places := map[string]source{
		"Vault": p.fromVault(t, "llm/chat", "api_key"), "AWS": p.fromAWS("prod/chat", "XAI_API_KEY"), "file": p.fromFile("chat.json", "key"),
	}
	_, stop := consume(t, p.inference(t), places)

	running := d.start(t)
	lives := func(n int) func() bool {
		return func() bool {
			rows, err := d.client().History(t.Context(), "", 1000)
			live := 0
			for _, r := range rows {
				if r.State == string(journal.Live) || r.State == string(journal.Done) {
					live++
				}
			}
			return err == nil && live >= n
		}
	}
	eventually(t, "two rotations are live", lives(2))
	running.kill()
	running = d.start(t)
	eventually(t, "four rotations are live", lives(4)) // the first, and three by the schedule
	running.terminate(t)
	schedule("@every 720h")
	running = d.start(t)
	eventually(t, "the last rotation ends", func() bool {
		rows, err := d.client().Status(t.Context())
		return err == nil && len(rows) == 1 && rows[0].State == api.StateIdle && rows[0].NextRun != nil && time.Until(*rows[0].NextRun) > time.Hour &&
			d.leaving(t) == 0
	})
	stop()
	list, err := management(t, p.xaiURL, p.key).ListKeys(t.Context(), team)
	if err != nil || len(list.Keys) != 1 || list.Keys[0].Disabled {
		t.Errorf("I2: xAI holds %d keys: %v", len(list.Keys), err)
	}
	for name, read := range places {
		key, err := read(t.Context())
		if err == nil {
			err = p.inference(t).Chat(t.Context(), secret.New(key), model)
		}
		if err != nil {
			t.Errorf("I1: %s holds no key that works: %v", name, err)
		}
	}
	running.terminate(t)
	p.nothingStaged(t, []string{"llm/chat"}, []string{"prod/chat"})
}

// leaving counts the keys of chat besides its live one.
func (d *daemon) leaving(t testing.TB) (n int) {
	j := d.look(t)
	defer func() { _ = j.Close() }()
	rec, err := j.Load(t.Context(), "chat")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range rec.Keys {
		if k.State != journal.LiveKey {
			n++
		}
	}
	return n
}

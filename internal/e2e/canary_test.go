package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rotator/internal/api"
	"rotator/internal/testenv/vaulttest"
	"rotator/internal/traces/tracestest"
	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// spellings are the forms in which a secret could leave: whole, its halves, and each of these in base64 at every
// alignment, in hexadecimal, escaped for URLs and for JSON.
func spellings(secret string) (forms [][]byte) {
	half := len(secret) / 2
	for _, part := range []string{secret, secret[:half], secret[half:]} {
		forms = append(forms, []byte(part), []byte(url.QueryEscape(part)), []byte(url.PathEscape(part)),
			[]byte(strings.Trim(strconv.Quote(part), `"`)), []byte(hex.EncodeToString([]byte(part))), []byte(strings.ToUpper(hex.EncodeToString([]byte(part)))))
		for shift := range 3 { // what is before it moves it within its groups of three bytes
			whole := (len(part) - shift) / 3 * 3
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				forms = append(forms, []byte(e.EncodeToString([]byte(part[shift:shift+whole]))))
			}
		}
	}
	return forms
}

// leaks names the secrets that are in text, in whatever form: name → secret.
func leaks(text []byte, secrets map[string]string) (found []string) {
	for name, secret := range secrets {
		for _, form := range spellings(secret) {
			if bytes.Contains(text, form) {
				found = append(found, name)
				break
			}
		}
	}
	return found
}

func TestTheCanarySings(t *testing.T) {
	t.Parallel()
	secret := `xai-p+ss/w"rd&0123456789abcdefghijklmnopqrstuvwxyz`
	for name, text := range map[string]string{
		"whole": "a " + secret + " b", "first half": secret[:len(secret)/2], "second half": secret[len(secret)/2:],
		"URL": url.Values{"k": {secret}}.Encode(), "hex": fmt.Sprintf("%x", secret), "HEX": fmt.Sprintf("%X", secret),
		"JSON": fmt.Sprintf("%q", secret), "base64": base64.StdEncoding.EncodeToString([]byte("Bearer " + secret + "!")),
		"raw base64": base64.RawURLEncoding.EncodeToString([]byte(":" + secret)), "header": base64.StdEncoding.EncodeToString([]byte("ab" + secret)),
	} {
		if len(leaks([]byte(text), map[string]string{"it": secret})) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	if got := leaks([]byte("xai-...wxyz sha256:0123456789"), map[string]string{"it": secret}); got != nil {
		t.Errorf("found what is not there: %q", got)
	}
}

// TestCanary lets the binary rotate at its most talkative, among faults whose answers hold secrets and files with secrets
// in the wrong place, and then searches everything that it wrote, said or showed.
func TestCanary(t *testing.T) {
	t.Parallel()
	p := newParts(t, xaisim.Options{})
	_, adopted := p.sim.AddKey(team, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
	secrets := map[string]string{
		"management key": p.key.Reveal(), "adopted key": adopted.Reveal(),
		"neighbor in Vault": `p+ss/w"rd&of the database in Vault`, "neighbor in the file": "password-of-the-mail-server-0123",
		"AWS secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "foreign value": "a-password-that-is-no-api-key-at-all",
		"pasted key": "xai-token-" + strings.Repeat("pasted0Wrong", 6), "webhook secret": "whsec-0123456789abcdefghijklmnop", "webhook path": "T0123456789/B0123456789/abcdefghijklmnop",
		"collector token": "Bearer collector-0123456789abcdefghij",
	}
	proxy := p.vault.Proxy(t)
	collector := tracestest.New(t)
	d := newCanary(t, p, proxy, collector, secrets)
	secrets["Vault token"] = strings.TrimSpace(p.read(t, "vault.token"))
	p.spoil(proxy, secrets)

	running := d.start(t)
	d.complain(t)
	impatient := api.OrderRequest{Policy: "chat", Kind: string(journal.OrderRotate), Trigger: string(journal.ByHand), By: "canary", Why: "the faults shall not make it wait"}
	eventually(t, "two rotations end, and a human is asked about the foreign value", func() bool {
		_, _ = d.client().Place(t.Context(), impatient)
		rows, err := d.client().Status(t.Context())
		if err != nil || len(rows) != 2 || rows[1].State != api.StateBlocked {
			return false
		}
		done, err := d.client().History(t.Context(), "chat", 100)
		return err == nil && len(done) >= 3 && done[1].Ended != nil && done[2].Ended != nil
	})
	p.write(t, "policies/chat.yaml", fmt.Sprintf("name: chat\nteam: %s\n%s: 1\n", secrets["pasted key"], secrets["pasted key"]))
	if err := d.client().Reload(t.Context()); err == nil {
		t.Error("a policy that holds a key in place of a team was taken")
	} else if l := leaks([]byte(err.Error()), secrets); l != nil {
		t.Errorf("I4: the problem quotes %q", l)
	}

	for _, k := range p.sim.Keys(team) {
		secrets["key "+k.ID] = k.Secret.Reveal()
	}
	search := func(where string, text []byte) {
		if l := leaks(text, secrets); l != nil {
			t.Errorf("I4: %s holds %q", where, l)
		}
	}
	d.askEverything(t, search)
	d.shownByTheSystem(t, running, search)
	d.writtenToDisk(t, search) // while it runs: the journal's newest pages are in its log
	eventually(t, "the collector is told of both", func() bool { return told(collector) >= 2 })
	running.terminate(t)
	d.writtenToDisk(t, search)
	heardByCollector(t, collector, secrets, search)
	if len(p.sim.Keys(team)) < 4 {
		t.Error("too few keys were made to show anything")
	}
}

// newCanary configures a daemon that has something of everything.
func newCanary(t *testing.T, p *parts, proxy *vaulttest.Proxy, collector *tracestest.Collector, secrets map[string]string) *daemon {
	doc := func(key, neighbor string) string { return fmt.Sprintf(`{"key":%q,"other":%q}`, key, neighbor) }
	p.vault.Write(t, p.mount, "llm/chat", doc(secrets["adopted key"], secrets["neighbor in Vault"]))
	p.aws.Region(region).Put("prod/chat", doc(secrets["adopted key"], secrets["neighbor in Vault"]))
	p.write(t, "secrets/chat.json", doc(secrets["adopted key"], secrets["neighbor in the file"]))
	p.write(t, "secrets/foreign", secrets["foreign value"])
	hook := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a listener that tells all that it hears
		body, _ := io.ReadAll(r.Body)
		if l := leaks(body, secrets); l != nil {
			t.Errorf("I4: the webhook was told %q", l)
		}
		http.Error(w, secrets["management key"], http.StatusInternalServerError)
	}))
	d := newDaemon(t, p, "watch: 1s, quarantine: 2s", p.vaultStore(t, proxy.Address, "1m", "llm/chat")+p.fileStore()+
		fmt.Sprintf("  aws: {type: aws, region: %s, endpoint: %q}\nnotify: [{name: hook, type: webhook, url: \"file:webhook.url\", secret: \"file:webhook.secret\"}]\n", region, p.awsURL)+
		fmt.Sprintf("traces: {endpoint: %q, headers: {authorization: \"file:collector.token\"}}\n", collector.URL))
	p.write(t, "webhook.url", hook+"/"+secrets["webhook path"])
	p.write(t, "webhook.secret", secrets["webhook secret"])
	p.write(t, "collector.token", secrets["collector token"])
	p.write(t, "aws.credentials", "[default]\naws_access_key_id = AKIACANARY\naws_secret_access_key = "+secrets["AWS secret"]+"\n")
	d.env = []string{"AWS_SHARED_CREDENTIALS_FILE=" + p.path("aws.credentials")}
	d.args = append(d.args, "--log-level", "debug")
	p.write(t, "policies/chat.yaml", `name: chat
team: research
schedule: "@every 2s"
key: {acls: `+acls+`}
targets: [{store: vault, path: llm/chat, field: key}, {store: aws, path: prod/chat, field: key}, {store: local, path: chat.json, field: key}]
adopt: true
retire: {overlap: 1s, soak: 1s}
`)
	p.write(t, "policies/foreign.yaml", `name: foreign
team: research
schedule: "@every 2s"
key: {acls: `+acls+`}
targets: [{store: local, path: foreign}]
retire: {overlap: 1s, soak: 1s}
`)
	return d
}

// spoil arms one fault after the other whose answers hold secrets: an error must not quote them.
func (p *parts) spoil(proxy *vaulttest.Proxy, secrets map[string]string) {
	body := fmt.Sprintf("<html>%s %s</html>", secrets["management key"], secrets["adopted key"])
	p.sim.Inject(
		xaisim.Fault{Call: "create", When: xaisim.After, Kind: xaisim.HalfBody},
		xaisim.Fault{Call: "create", When: xaisim.Before, Kind: xaisim.Status, Status: 400, Body: fmt.Sprintf(`{"code":3,"message":%q}`, body)},
		xaisim.Fault{Call: "propagation", Kind: xaisim.Status, Status: 503, Body: body},
		xaisim.Fault{Call: "whoami", Kind: xaisim.Status, Status: 403, Body: fmt.Sprintf(`{"code":"x","error":%q}`, body)},
		xaisim.Fault{Call: "update", Kind: xaisim.Status, Status: 429, Body: body},
		xaisim.Fault{Call: "delete", Kind: xaisim.Status, Status: 500, Body: body},
		xaisim.Fault{Call: "list", Kind: xaisim.Garbage, When: xaisim.After},
	)
	for _, status := range []int{400, 403, 500, 200} {
		quoted := vaulttest.Answer(status, fmt.Sprintf(`{"errors":[%q,%q],"data":%q}`, secrets["Vault token"], secrets["neighbor in Vault"], secrets["adopted key"]))
		proxy.Inject(1, vaulttest.Calls("GET", "/data/"), quoted)
		proxy.Inject(1, vaulttest.Calls("PUT", "/data/"), quoted)
	}
}

// askEverything calls all that answers, as the commands, a browser and a scraper do.
func (d *daemon) askEverything(t *testing.T, search func(string, []byte)) {
	t.Helper()
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.path("rotator.sock"))
	}}}
	defer socket.CloseIdleConnections()
	get := func(c *http.Client, url string) {
		answer, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil || len(body) == 0 || answer.StatusCode >= 500 && !strings.HasSuffix(url, "readyz") {
			t.Errorf("%s answered %s with %d bytes (%v)", url, answer.Status, len(body), err)
		}
		search(url, body)
		search("headers of "+url, []byte(fmt.Sprint(answer.Header)))
	}
	for _, path := range []string{"status", "history", "keys", "plan", "check", "events?after=0", "version", "orders/1", "nothing"} {
		get(socket, "http://rotator/v1/"+path)
	}
	for _, path := range []string{"", "metrics", "healthz", "readyz", "api/v1/status", "api/v1/history"} {
		get(http.DefaultClient, "http://"+d.web+"/"+path)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"check"}, {"rotate", "foreign", "--wait", "none"}} {
		command := exec.Command(path, append(args, "--config", d.path("rotator.yaml"), "--log-level", "debug")...)
		out, _ := command.CombinedOutput() // whatever it thinks of the broken policy: its words are what counts
		search("rotator "+strings.Join(args, " "), out)
	}
}

// shownByTheSystem searches what every user of the machine, and who may look into /proc, can see of the process.
func (d *daemon) shownByTheSystem(t *testing.T, running *process, search func(string, []byte)) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, proc := range all {
		stat, _ := os.ReadFile(proc + "/stat") // gone by now, or none of ours
		_, after, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(after); proc != fmt.Sprint("/proc/", running.Process.Pid) && (len(f) < 2 || f[1] != fmt.Sprint(running.Process.Pid)) {
			continue
		}
		for _, name := range []string{"cmdline", "environ"} {
			// The environment of a process that left no way to dump it is shown to root alone.
			if b, err := os.ReadFile(proc + "/" + name); err == nil {
				seen = seen || name == "cmdline"
				search(proc+"/"+name, b)
			}
		}
	}
	if !seen {
		t.Error("the process was not seen")
	}
}

// heardByCollector searches what the collector of traces was sent, but for the header that is for it.
func heardByCollector(t *testing.T, c *tracestest.Collector, secrets map[string]string, search func(string, []byte)) {
	t.Helper()
	headers, bodies := c.Heard()
	search("traces", bodies)
	for _, h := range headers {
		if got := h.Get("Authorization"); got != secrets["collector token"] {
			t.Errorf("the collector was sent another header than its own, of %d bytes", len(got))
		}
		h.Del("Authorization")
		search("headers of traces", []byte(fmt.Sprint(h)))
	}
}

// told counts the rotations that ended of which a collector was told.
func told(c *tracestest.Collector) (n int) {
	for _, s := range c.Spans() {
		if s.Name == "rotation" {
			n++
		}
	}
	return n
}

// writtenToDisk searches every file that the run left anywhere but where secrets belong.
func (d *daemon) writtenToDisk(t *testing.T, search func(string, []byte)) {
	t.Helper()
	ours := map[string]bool{"secrets": true, "management.key": true, "vault.token": true, "aws.credentials": true, "webhook.secret": true, "webhook.url": true, "collector.token": true}
	journal := false
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(path, d.dir+"/"), "/")
		if ours[top] || path == d.path("policies", "chat.yaml") || !e.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		journal = journal || e.Name() == "rotator.db" && len(b) > 0
		search(path, b)
		return err
	})
	if err != nil || !journal {
		t.Errorf("the journal was not searched (%v)", err)
	}
}

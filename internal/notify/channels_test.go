package notify

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotator/rotation/journal"
)

// kept is a channel that keeps what it gets.
type kept struct {
	mu   sync.Mutex
	most int
	got  [][]int64 // guarded by mu: the ids of each message
	all  []Message // guarded by mu
	err  error     // guarded by mu
}

func (k *kept) Check(context.Context) error { return nil }
func (k *kept) Most() int                   { return k.most }
func (k *kept) Send(_ context.Context, all []Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	var ids []int64
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	k.got, k.all = append(k.got, ids), append(k.all, all...)
	return nil
}

func (k *kept) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// sent is what the channel got, one after the other.
func (k *kept) sent() []Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all)
}

func (k *kept) messages() [][]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.got)
}

// TestGrouped: a channel for people gets what came meanwhile in one message, nothing twice, and critical events at once.
func TestGrouped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w, k := newLedger(t), &watcher{}, &kept{most: 3}
		defer runOver(t, l, w, Channel{Name: "chat", Sender: k, Every: time.Minute})()
		l.add(journal.Promoted)
		time.Sleep(5 * time.Second)
		l.add(journal.Drifted, journal.KeyStaged)
		time.Sleep(5 * time.Second)
		l.add(journal.Failed)
		time.Sleep(20 * time.Second)
		if got := k.messages(); len(got) != 1 {
			t.Errorf("%v within half a minute, want one message", got)
		}
		time.Sleep(time.Minute)
		l.add(journal.Failed)
		time.Sleep(5 * time.Second)
		l.add(journal.KeyCompromised)
		time.Sleep(5 * time.Second)
		l.add(journal.Failed, journal.Failed, journal.Failed, journal.Failed)
		time.Sleep(2 * time.Minute)
		want := [][]int64{{10}, {20, 40}, {50, 60}, {70, 80, 90}, {100}}
		got := k.messages()
		if slices.Compare(slices.Concat(got...), slices.Concat(want...)) != 0 || len(got) > len(want)+1 { // another turn begins another group
			t.Errorf("messages %v, want %v", got, want)
		}
	})
}

// TestMatch selects events for channels.
func TestMatch(t *testing.T) {
	t.Parallel()
	m := newMessage(journal.Event{ID: 1, Policy: "chat", Kind: journal.AgeOverLimit}, Facts{Team: "research", Owner: "ann", Labels: map[string]string{"tier": "prod"}}, "host")
	team := newMessage(journal.Event{ID: 2, Kind: journal.TeamRefused, Data: map[string]string{"team": "search"}}, Facts{}, "host")
	for _, c := range []struct {
		name        string
		match       Match
		takes, team bool
	}{
		{"everything", Match{}, true, true},
		{"severity", Match{Severities: []Severity{Critical}}, true, false},
		{"another severity", Match{Severities: []Severity{Info, Warning}}, false, true},
		{"kind", Match{Kinds: []string{"age_over_limit"}}, true, false},
		{"team", Match{Teams: []string{"research"}}, true, false},
		{"team of an event without a policy", Match{Teams: []string{"search"}}, false, true},
		{"owner", Match{Owners: []string{"bob", "ann"}}, true, false},
		{"label", Match{Labels: map[string]string{"tier": "prod"}}, true, false},
		{"two labels", Match{Labels: map[string]string{"tier": "prod", "app": "chat"}}, false, false},
		{"severity and team", Match{Severities: []Severity{Critical}, Teams: []string{"search"}}, false, false},
	} {
		if got := c.match.takes(m); got != c.takes {
			t.Errorf("%s: takes an event of a policy: %t", c.name, got)
		}
		if got := c.match.takes(team); got != c.team {
			t.Errorf("%s: takes an event of a team: %t", c.name, got)
		}
	}
}

// TestReminders: a policy that still needs someone is told of again, at the pace of the channel, and also after a restart.
func TestReminders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w, k := newLedger(t), &watcher{}, &kept{most: 20}
		c := Channel{Name: "chat", Sender: k, Repeat: 12 * time.Hour}
		stop := runOver(t, l, w, c)
		time.Sleep(11 * time.Hour)
		if n := len(k.messages()); n != 0 {
			t.Errorf("%d reminders before the time", n)
		}
		time.Sleep(2 * time.Hour)
		stop()
		defer runOver(t, l, w, c)()
		time.Sleep(9 * time.Hour)
		if n := len(k.messages()); n != 1 || k.sent()[0].Kind != "reminder" || *k.sent()[0].Policy != "embed" {
			t.Errorf("%d reminders after 22 hours: %+v", n, k.sent())
		}
		time.Sleep(4 * time.Hour)
		if n := len(k.messages()); n != 2 {
			t.Errorf("%d reminders after 26 hours", n)
		}
	})
}

// TestADeadChannelIsTold: the other channels tell of a channel that fails for minutes, once.
func TestADeadChannelIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w, dead, well := newLedger(t), &watcher{}, &kept{most: 1}, &kept{most: 1}
		dead.fail(errors.New("the receiver answered with status 404"))
		defer runOver(t, l, w, Channel{Name: "dead", Sender: dead}, Channel{Name: "well", Sender: well})()
		l.add(journal.Promoted)
		time.Sleep(3 * time.Minute)
		if n := len(well.messages()); n != 1 {
			t.Errorf("%d messages after three minutes", n)
		}
		time.Sleep(time.Hour)
		if n := len(well.messages()); n != 2 || well.sent()[1].Kind != "channel_failed" || !strings.Contains(well.sent()[1].Summary, "status 404") {
			t.Errorf("%d messages, want the event and what failed: %+v", n, well.sent())
		}
		dead.fail(nil)
		time.Sleep(10 * time.Minute)
		if got := dead.messages(); len(got) != 1 { // not that it failed itself
			t.Errorf("the channel got %v", got)
		}
	})
}

// TestRetryAfter: a receiver that asks for a pause gets it.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, w, k := newLedger(t), &watcher{}, &kept{most: 1}
		k.fail(&laterError{errors.New("the receiver answered with status 429"), 2 * time.Minute})
		defer runOver(t, l, w, Channel{Name: "chat", Sender: k})()
		l.add(journal.Promoted)
		time.Sleep(5 * time.Second)
		k.fail(nil)
		time.Sleep(time.Minute)
		if n := len(k.messages()); n != 0 {
			t.Errorf("%d messages before the pause was over", n)
		}
		time.Sleep(3 * time.Minute)
		if n := len(k.messages()); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// web keeps the bodies that a receiver got; it answers as answer says.
type web struct {
	mu     sync.Mutex
	bodies []map[string]any // guarded by mu
	answer func(w http.ResponseWriter)
}

func (s *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var v map[string]any
	if json.Unmarshal(body, &v) != nil || r.Header.Get("Content-Type") != "application/json" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.bodies = append(s.bodies, v)
	s.mu.Unlock()
	s.answer(w)
}

func event(kind journal.Kind, data map[string]string) Message {
	return newMessage(journal.Event{ID: 7, At: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC), Policy: "chat", Kind: kind, Data: data},
		Facts{Team: "research", Owner: "ann@example.com"}, "host/one")
}

// TestSlack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
func TestSlack(t *testing.T) {
	t.Parallel()
	site := &web{answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "ok") }}
	server := httptest.NewServer(site)
	defer server.Close()
	s := &Slack{URL: given(server.URL + "/services/T0/B1/x")}
	if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil), event(journal.Failed, map[string]string{"error": "<!channel> & <http://evil|ok>"})}); err != nil {
		t.Fatal(err)
	}
	text, _ := site.bodies[0]["text"].(string)
	want := "[info, team research, owner ann@example.com] chat: every target holds the new key (2026-03-01T03:00:00Z, host/one)\n" +
		"[warning, team research, owner ann@example.com] chat: a step failed; it is tried again: &lt;!channel&gt; &amp; &lt;http://evil|ok&gt; (2026-03-01T03:00:00Z, host/one)"
	if text != want {
		t.Errorf("text %q, want %q", text, want)
	}
	var err error
	if s.Line, err = NewLine("{{.Policy}} is {{.Severity}}{{with .Labels.tier}} in {{.}}{{end}}"); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), []Message{event(journal.KeyCompromised, nil)}); err != nil || site.bodies[1]["text"] != "chat is critical" {
		t.Errorf("by a template: %v, %v", site.bodies[1], err)
	}
	site.answer = func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	var later *laterError
	if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil)}); !errors.As(err, &later) || later.after != 30*time.Second {
		t.Errorf("too many requests: %v", err)
	}
}

// TestTeams: https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook.
func TestTeams(t *testing.T) {
	t.Parallel()
	site := &web{answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }}
	server := httptest.NewServer(site)
	defer server.Close()
	s := &Teams{URL: given(server.URL + "/workflows/x?sig=canary")}
	if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil), event(journal.Drifted, nil)}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(site.bodies[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"type":"message"`, `"contentType":"application/vnd.microsoft.card.adaptive"`, `"type":"AdaptiveCard"`, `chat: every target holds the new key`, `chat: a target holds a value`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
}

// TestPagerDuty: https://developer.pagerduty.com/docs/send-alert-event. What opened an alert is ended by its key, and an event that
// is sent twice opens one alert.
func TestPagerDuty(t *testing.T) {
	t.Parallel()
	site := &web{answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }}
	server := httptest.NewServer(site)
	defer server.Close()
	s := &PagerDuty{Key: given("canary-routing-key"), URL: given(server.URL + "/v2/enqueue"), Installation: "prod-eu"}
	for _, to := range []string{"overdue", "ok"} {
		if err := s.Send(t.Context(), []Message{event(journal.HealthChanged, map[string]string{"to": to})}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Send(t.Context(), []Message{event(journal.KeyCompromised, nil)}); err != nil {
			t.Fatal(err)
		}
	}
	var actions, keys []string
	for _, b := range site.bodies {
		actions, keys = append(actions, b["event_action"].(string)), append(keys, b["dedup_key"].(string))
		if b["routing_key"] != "canary-routing-key" {
			t.Errorf("the key of the integration is not there: %v", b)
		}
	}
	if !slices.Equal(actions, []string{"trigger", "resolve", "trigger", "trigger"}) || keys[0] != keys[1] || keys[0] == keys[2] || keys[2] != keys[3] {
		t.Errorf("actions %v, keys %v", actions, keys)
	}
	payload := site.bodies[0]["payload"].(map[string]any)
	if payload["severity"] != "critical" || payload["component"] != "chat" || payload["group"] != "research" || payload["source"] != "host/one" {
		t.Errorf("payload %v", payload)
	}
	server.Close()
	if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil)}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a dead receiver: %v", err)
	}
}

// TestAResolveIsSentWhateverMatches: a channel that asks for critical events alone is told when the policy is well again.
func TestAResolveIsSentWhateverMatches(t *testing.T) {
	t.Parallel()
	o := newOut(Options{Facts: func(context.Context, string) (Facts, error) { return Facts{Team: "research"}, nil }, Now: time.Now}, Channel{
		Name: "oncall", Sender: &PagerDuty{}, Match: Match{Severities: []Severity{Critical}, Teams: []string{"research"}}})
	for to, want := range map[string]bool{"overdue": true, "action_required": false, "ok": true, "progressing": true} {
		_, mine, err := o.message(t.Context(), journal.Event{Policy: "chat", Kind: journal.HealthChanged, Data: map[string]string{"to": to}})
		if err != nil || mine != want {
			t.Errorf("health changed to %s: %t, %v", to, mine, err)
		}
	}
}

// TestProgram: a program gets one line of JSON for each event, and what it ends with counts.
func TestProgram(t *testing.T) {
	t.Parallel()
	var got []string
	s := &Program{Run: func(_ context.Context, input []byte) error { got = append(got, string(input)); return nil }}
	if err := s.Send(t.Context(), []Message{event(journal.Promoted, nil), event(journal.Failed, nil)}); err != nil || len(got) != 2 {
		t.Fatalf("%q, %v", got, err)
	}
	var m Message
	if err := json.Unmarshal([]byte(got[0]), &m); err != nil || *m.Policy != "chat" || !strings.HasSuffix(got[0], "}\n") {
		t.Errorf("%q: %v", got[0], err)
	}
	s.Run = func(context.Context, []byte) error { return errors.New("it ended with 1") }
	if s.Send(t.Context(), []Message{event(journal.Promoted, nil)}) == nil {
		t.Error("what ended with 1 counts as sent")
	}
}

// TestEveryUrgentKindHasASentence, so that no one reads a bare word.
func TestEveryUrgentKindHasASentence(t *testing.T) {
	t.Parallel()
	for kind := range summaries {
		if kind != testKind && kind != reminderKind && !kind.Urgent() {
			t.Errorf("%s is never sent", kind)
		}
	}
	source, err := os.ReadFile("../../rotation/journal/events.go")
	if err != nil {
		t.Fatal(err)
	}
	urgent := 0
	for _, m := range regexp.MustCompile(`Kind = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		if kind := journal.Kind(m[1]); kind.Urgent() {
			urgent++
			if summaries[kind] == "" {
				t.Errorf("%s has no sentence", kind)
			}
		}
	}
	if urgent+2 != len(summaries) { // and reminders and tests
		t.Errorf("%d kinds are urgent, and %d have a sentence", urgent, len(summaries))
	}
}

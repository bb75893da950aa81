package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// site is a web server that takes events at /hook and redirects from /away. It counts what /hook got.
func site(t *testing.T) (http.Handler, chan struct{}) {
	check, hits := &receiver{t: t}, make(chan struct{}, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/hook", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		check.verify(r.Header, body)
		hits <- struct{}{}
		_, _ = w.Write(make([]byte, 10<<20)) // nothing reads it
	})
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/hook", http.StatusTemporaryRedirect)
	})
	return mux, hits
}

func TestOverARealWire(t *testing.T) {
	t.Parallel()
	pages, hits := site(t)
	plain, trusted := httptest.NewServer(pages), httptest.NewUnstartedServer(pages)
	trusted.Config.ErrorLog = quiet
	trusted.StartTLS()
	defer plain.Close()
	defer trusted.Close()
	for name, c := range map[string]struct {
		url       string
		transport http.RoundTripper
		want      string // the error, "" when it arrives
	}{
		"http on loopback":       {plain.URL + "/hook", nil, ""},
		"https":                  {trusted.URL + "/hook", trusted.Client().Transport, ""},
		"a stranger's authority": {trusted.URL + "/hook", nil, "the receiver's certificate is not accepted"},
		"a redirect":             {plain.URL + "/away", nil, "the receiver answered with status 307"},
		"nobody there":           {"http://127.0.0.1:1/canary", nil, "the receiver refuses connections"},
		"no such name":           {"https://canary.invalid/canary", nil, "the receiver"}, // what of it, depends on the resolver
	} {
		t.Run(name, func(t *testing.T) {
			s := &Webhook{URL: given(c.url), Secret: given(hookKey), Transport: c.transport}
			err := s.Send(t.Context(), []Message{newMessage(journal.Event{ID: 1, At: time.Now(), Kind: journal.Promoted}, Facts{}, "host/one")})
			if arrived := len(hits) == 1; arrived != (c.want == "") || arrived != (err == nil) {
				t.Errorf("arrived: %v, error: %v", arrived, err)
			}
			for len(hits) > 0 {
				<-hits
			}
			if err == nil {
				return
			}
			address, _ := url.Parse(c.url)
			if said := err.Error(); !strings.HasPrefix(said, c.want) || strings.Contains(said, address.Host) || strings.Contains(said, address.Path) {
				t.Errorf("error %q, want %q and no address", said, c.want)
			}
		})
	}
}

func missing(context.Context) (secret.Text, error) {
	return secret.Text{}, errors.New("file hook: no such file")
}

func TestWhatIsNotSentAtAll(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hook Webhook
		want string
	}{
		"plain http":       {Webhook{URL: given("http://hooks.example/canary"), Secret: given(hookKey)}, "its URL is not https"},
		"another scheme":   {Webhook{URL: given("ftp://localhost/canary"), Secret: given(hookKey)}, "its URL is not https"},
		"almost loopback":  {Webhook{URL: given("http://127.0.0.1.hooks.example/canary"), Secret: given(hookKey)}, "its URL is not https"},
		"no URL":           {Webhook{URL: given("canary"), Secret: given(hookKey)}, "its URL is no absolute URL"},
		"a broken URL":     {Webhook{URL: given("https://canary:x y@\x7f"), Secret: given(hookKey)}, "its URL is no absolute URL"},
		"an empty URL":     {Webhook{URL: given(""), Secret: given(hookKey)}, "its URL is no absolute URL"},
		"a missing URL":    {Webhook{URL: missing, Secret: given(hookKey)}, "its URL: file hook: no such file"},
		"an empty secret":  {Webhook{URL: given(hookURL), Secret: given("")}, "its secret has 0 bytes: want 16 or more, such as from `openssl rand -hex 32`"},
		"a short secret":   {Webhook{URL: given(hookURL), Secret: given("fifteen bytes..")}, "its secret has 15 bytes: want 16 or more, such as from `openssl rand -hex 32`"},
		"a missing secret": {Webhook{URL: given(hookURL), Secret: missing}, "its secret: file hook: no such file"},
	} {
		c.hook.Transport = forbidden{t}
		if err := c.hook.Send(t.Context(), []Message{{ID: 1}}); err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
		if err := c.hook.Check(t.Context()); err == nil || err.Error() != c.want {
			t.Errorf("%s: checked, error %v, want %s", name, err, c.want)
		}
	}
}

// forbidden fails the test when anything is sent.
type forbidden struct{ t *testing.T }

func (f forbidden) RoundTrip(*http.Request) (*http.Response, error) {
	f.t.Error("a message was sent")
	return nil, errors.New("forbidden")
}

// marked is a journal that says when a cursor was moved.
type marked struct {
	*sqldb.DB
	moved chan string
}

func (m marked) SetMeta(ctx context.Context, key, value string) error {
	err := m.DB.SetMeta(ctx, key, value)
	m.moved <- key + " " + value
	return err
}

func TestWithARealJournal(t *testing.T) {
	t.Parallel()
	pages, hits := site(t)
	server := httptest.NewServer(pages)
	defer server.Close()
	db, err := sqldb.Open(t.Context(), "sqlite::memory:", sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Record(t.Context(), journal.Event{At: time.Now(), Kind: journal.ReloadRefused}); err != nil {
		t.Fatal(err)
	}
	j := marked{db, make(chan string, 4)}
	n := New(Options{Journal: j, Channels: []Channel{{Name: "webhook", Sender: &Webhook{URL: given(server.URL + "/hook"), Secret: given(hookKey)}}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	got := map[string]bool{}
	for range 4 { // each way out begins, and moves on
		got[<-j.moved] = true
	}
	cancel()
	if err := <-done; err != nil || len(hits) != 1 || !got["notify/webhook 1"] || !got["notify/log 1"] {
		t.Errorf("%d deliveries, cursors %v, error %v", len(hits), got, err)
	}
}

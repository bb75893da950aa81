package xai_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/xai"
)

// pages answers each list with n elements and a new cursor, without end.
func pages(element string, n int) tripper {
	page, list := 0, strings.TrimSuffix(strings.Repeat(element+",", n), ",")
	return func(r *http.Request) (*http.Response, error) {
		page++
		return answering(200, "application/json", fmt.Sprintf(`{"apiKeys":[%s],"paginationToken":"%d"}`, list, page))(r)
	}
}

// allocated runs f and returns what the process allocated meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Five million empty objects, a few KiB on the wire, are refused at little cost. Not parallel: it
// measures the process.
func TestMillionsOfEmptyObjects(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, `{"apiKeys":[{}`+strings.Repeat(",{}", 5_000_000)+`]}`)
	_ = z.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes())
	}))
	defer server.Close()
	c := newClock()
	m, err := xai.NewManagement(xai.ManagementOptions{URL: server.URL, Key: fixed(secret.New("xai-token-x")), Now: c.Now, Sleep: c.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	size := allocated(func() { _, err = m.ListKeys(t.Context(), team) })
	// Three tries, each of which reads 15 MiB into a growing slice.
	if xai.ClassOf(err) != xai.ClassUnreadable || size > 400<<20 {
		t.Errorf("%v after %d MiB", err, size>>20)
	}
}

// What is held of lists is bounded over all pages, and so is each other answer.
func TestElementsAreBounded(t *testing.T) {
	t.Parallel()
	long := `{"apiKeyId":"k","aclStrings":[` + strings.TrimSuffix(strings.Repeat(`"",`, 4000), ",") + `]}`
	for name, c := range map[string]struct {
		element string
		n       int
		code    string
	}{
		"small":       {`{"apiKeyId":"k"}`, 50_000, "too_many"},
		"rights":      {long, 100, "too_many"},
		"more rights": {strings.ReplaceAll(long, `["",`, `[`+strings.Repeat(`"",`, 200)), 1, "field_aclstrings"},
		"fields":      {`{"apiKeyId":"k"` + fields(300) + `}`, 1, "field_apikeys"},
		"long":        {`{"apiKeyId":"k","name":"` + strings.Repeat("x", 15<<20) + `"}`, 1, "too_large"},
	} {
		m, _ := clients(t, newClock(), secret.New("xai-token-x"), pages(c.element, c.n))
		list, err := m.ListKeys(t.Context(), team)
		if xai.ClassOf(err) != xai.ClassUnreadable || len(list.Keys) != 0 || !strings.HasSuffix(err.Error(), "code "+c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string]string{
		"models":     `{"clusterConfigs":[{"audioModels":[{}` + strings.Repeat(",{}", 210_000) + `]}]}`,
		"clusters":   `{"clusterConfigs":[{}` + strings.Repeat(",{}", 210_000) + `]}`,
		"endpoints":  `{"acls":[{}` + strings.Repeat(",{}", 210_000) + `]}`,
		"audit":      `{"events":[{}` + strings.Repeat(",{}", 210_000) + `]}`,
		"timeSeries": `{"timeSeries":[{}` + strings.Repeat(",{}", 210_000) + `]}`,
		"dataPoints": `{"timeSeries":[{"group":["k"],"dataPoints":[{}` + strings.Repeat(",{}", 210_000) + `]}]}`,
	} {
		c := newClock()
		m, _ := clients(t, c, secret.New("xai-token-x"), answering(200, "application/json", body))
		var err error
		switch name {
		case "models", "clusters":
			_, err = m.Models(t.Context(), team)
		case "endpoints":
			_, err = m.Endpoints(t.Context(), team)
		case "audit":
			_, err = m.AuditEvents(t.Context(), team, xai.AuditQuery{})
		default:
			_, err = m.Usage(t.Context(), team, xai.UsageQuery{From: c.Now(), To: c.Now().Add(1)})
		}
		if xai.ClassOf(err) != xai.ClassUnreadable || !strings.HasSuffix(err.Error(), "code too_many") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fields is n more fields of an object.
func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":1`, i)
	}
	return b.String()
}

// A cursor that comes again, at once or after a while, ends the list with an error.
func TestCursorLoops(t *testing.T) {
	t.Parallel()
	for _, tokens := range [][]string{{"a", "a"}, {"a", "b", "c", "b"}} {
		i := 0
		m, _ := clients(t, newClock(), secret.New("xai-token-x"), tripper(func(r *http.Request) (*http.Response, error) {
			token := tokens[i%len(tokens)]
			i++
			return answering(200, "application/json", `{"apiKeys":[],"paginationToken":"`+token+`"}`)(r)
		}))
		if _, err := m.ListKeys(t.Context(), team); xai.ClassOf(err) != xai.ClassUnreadable || i != len(tokens) {
			t.Errorf("%v: %v after %d pages", tokens, err, i)
		}
	}
}

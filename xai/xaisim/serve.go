package xaisim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// api says which of the two APIs an address serves.
type api int

const (
	managementAPI api = 1 << iota
	inferenceAPI
	bothAPIs = managementAPI | inferenceAPI
)

// route is one call of one API. A {} in the path is the id.
type route struct {
	api        api
	op, method string
	path       []string
	handle     func(*Sim, request) answer
	guide      bool // the id in the path is the team's, and the key's is in the body
}

func routes() []route {
	on := func(a api, op, method, path string, handle func(*Sim, request) answer) route {
		return route{api: a, op: op, method: method, path: strings.Split(path, "/"), handle: handle}
	}
	byGuide := on(managementAPI, "update", "PUT", "/auth/teams/{}/api-keys", (*Sim).update)
	byGuide.guide = true
	return []route{
		byGuide,
		on(managementAPI, "create", "POST", "/auth/teams/{}/api-keys", (*Sim).create),
		on(managementAPI, "list", "GET", "/auth/teams/{}/api-keys", (*Sim).list),
		on(managementAPI, "team_models", "GET", "/auth/teams/{}/models", (*Sim).teamModels),
		on(managementAPI, "endpoints", "GET", "/auth/teams/{}/endpoints", (*Sim).endpoints),
		on(managementAPI, "update", "PUT", "/auth/api-keys/{}", (*Sim).update),
		on(managementAPI, "delete", "DELETE", "/auth/api-keys/{}", (*Sim).delete),
		on(managementAPI, "propagation", "GET", "/auth/api-keys/{}/propagation", (*Sim).propagation),
		on(managementAPI, "rotate", "POST", "/auth/api-keys/{}/rotate", (*Sim).rotate),
		on(managementAPI, "validate", "GET", "/auth/management-keys/validation", (*Sim).validate),
		on(managementAPI, "audit", "GET", "/audit/teams/{}/events", (*Sim).audit),
		on(managementAPI, "usage", "POST", "/v1/billing/teams/{}/usage", (*Sim).usage),
		on(inferenceAPI, "whoami", "GET", "/v1/api-key", (*Sim).whoami),
		on(inferenceAPI, "me", "GET", "/v1/me", (*Sim).me),
		on(inferenceAPI, "models", "GET", "/v1/models", (*Sim).models),
		on(inferenceAPI, "chat", "POST", "/v1/chat/completions", (*Sim).chat),
	}
}

// find returns the route and the id in its path.
func find(table []route, served api, method, path string) (route, string, bool) {
	segments := strings.Split(path, "/")
	for _, r := range table {
		if r.api&served == 0 || r.method != method || len(r.path) != len(segments) {
			continue
		}
		id, match := "", true
		for i, want := range r.path {
			if want == "{}" && segments[i] != "" {
				id = segments[i]
			} else if want != segments[i] {
				match = false
				break
			}
		}
		if match {
			return r, id, true
		}
	}
	return route{}, "", false
}

// request is what a handler gets to see. Handlers run with the simulator's lock held.
type request struct {
	op, id string
	team   string // in the path, when the id is a key's from the body
	guide  bool   // as in route
	at     time.Time
	bearer string // "" when there was none
	host   string
	query  map[string][]string
	body   []byte
	proven bool // came with a client certificate
}

func (r request) param(name string) string {
	if v := r.query[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// answer is what goes back, and how that goes wrong.
type answer struct {
	status      int // 0: there is none
	contentType string
	body        []byte
	retryAfter  time.Duration
	wire        Kind // Reset, Timeout, HalfBody or HugeBody; otherwise it arrives
}

// exchange is one call from beginning to end, whatever carries it.
func (s *Sim) exchange(r *http.Request, served api) answer {
	var body []byte
	if r.Body != nil {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return answer{wire: Reset}
		}
		body = b
	}
	o := s.options()
	if o.Latency > 0 && !wait(r.Context(), o.Latency) {
		return answer{wire: Reset}
	}
	rt, id, known := find(s.routes, served, r.Method, r.URL.Path)
	if known && !o.offered(rt) {
		rt, id, known = route{}, "", false
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	q := request{op: rt.op, id: id, guide: rt.guide, bearer: bearer, host: r.Host, query: r.URL.Query(), body: body,
		proven: r.TLS != nil && len(r.TLS.PeerCertificates) > 0}
	if rt.guide {
		q.team, q.id = id, keyIn(body)
		id = q.id
	}
	s.tell(Call{Op: rt.op, ID: id})
	a, fault := s.act(rt, known, q)
	s.tell(Call{Op: rt.op, ID: id, Done: true, Status: a.status})
	if fault != nil {
		return fault.spoil(a)
	}
	return a
}

// act lets the call have its effect, now, later or not at all.
func (s *Sim) act(rt route, known bool, q request) (answer, *Fault) {
	s.mu.Lock()
	defer s.unlock()
	q.at = s.now()
	s.calls[rt.op]++
	kind := rt.op
	if kind == "update" {
		kind = updateKind(q.body)
	}
	fault := s.nextFault(rt.op, kind)
	handle := func(q request) answer {
		switch {
		case s.o.ClientCertificates && !q.proven:
			return refuse(http.StatusForbidden, 7, "A client certificate is required.")
		case !known:
			return page(http.StatusNotFound, "404 Not Found")
		case rt.api == managementAPI:
			return s.manage(rt, q)
		}
		return rt.handle(s, q)
	}
	switch {
	case fault == nil || fault.When == After:
		return handle(q), fault
	case fault.When == Late:
		s.later(pendingEffect{Pending: Pending{Op: kind, ID: q.id, At: q.at.Add(fault.Delay)}, run: func(at time.Time) {
			q.at, s.late = at, true
			handle(q)
			s.late = false
		}})
	}
	return answer{}, fault
}

// manage checks the management key, then handles the call.
func (s *Sim) manage(rt route, q request) answer {
	m := s.management[q.bearer]
	switch {
	case m == nil:
		return refuse(http.StatusUnauthorized, 16, "Invalid bearer token. Make sure you are using a management key.")
	case m.limit != nil && !m.limit.AllowN(q.at, 1):
		a := refuse(http.StatusTooManyRequests, 8, "Too many requests.")
		a.retryAfter = m.retry
		return a
	case m.Ops != nil && !slices.Contains(m.Ops, q.op):
		return refuse(http.StatusForbidden, 7, "The management key is not allowed to call this endpoint.")
	}
	return rt.handle(s, q)
}

// serve puts an exchange on a wire.
func (s *Sim) serve(w http.ResponseWriter, r *http.Request, served api) {
	a := s.exchange(r, served)
	switch a.wire {
	case Timeout:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Reset:
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	h["Date"] = nil // net/http would add its own
	for name, values := range s.header(a) {
		h[name] = values
	}
	switch a.wire {
	case HugeBody:
		w.WriteHeader(a.status)
		_, _ = io.Copy(w, huge()) // ends when the client has had enough
	case HalfBody:
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush() // without it the half would be dropped with the connection
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // a client that has gone is none of our business
	}
}

func (s *Sim) header(a answer) http.Header {
	o := s.options()
	h := http.Header{"Content-Type": {a.contentType}}
	if !o.NoDate {
		h.Set("Date", o.Now().Add(o.DateSkew).UTC().Format(http.TimeFormat))
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((a.retryAfter+time.Second-1)/time.Second)))
	}
	return h
}

// keyIn returns the id of the key object in an update's body; "" when there is none.
func keyIn(body []byte) string {
	var in struct {
		APIKey struct{ APIKeyID string } `json:"apiKey"`
	}
	_ = json.Unmarshal(body, &in) // refused later, strictly
	return in.APIKey.APIKeyID
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// ok is a success. What cannot be encoded is a mistake of this package.
func ok(v any) answer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return answer{status: http.StatusOK, contentType: "application/json", body: b}
}

// refuse is an error of the Management API.
func refuse(status, code int, message string) answer {
	a := ok(map[string]any{"code": code, "message": message, "details": []any{}})
	a.status = status
	return a
}

// deny is an error of the inference API.
func deny(status int, code, message string) answer {
	a := ok(map[string]any{"code": code, "error": message})
	a.status = status
	return a
}

// page is what the proxy in front of both APIs says by itself.
func page(status int, title string) answer {
	return answer{status: status, contentType: "text/html", body: []byte("<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n" +
		"<center><h1>" + title + "</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")}
}

func plain(status int, text string) answer {
	return answer{status: status, contentType: "text/plain; charset=utf-8", body: []byte(text)}
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

const (
	maxBody    = 64 << 10 // of a request, in bytes
	maxHistory = 10_000   // rotations in one answer
)

// endpoint answers one request: a value for JSON, nil for nothing to say, or an error.
type endpoint func(r *http.Request) (any, error)

func (c *Server) control() http.Handler {
	mux := http.NewServeMux()
	for route, e := range map[string]struct {
		query []string // the parameters that it knows; with "*" those that may be given several times
		do    endpoint
	}{
		"GET /v1/status":            {selectors, c.getStatus},
		"GET /v1/history":           {[]string{"policy", "limit"}, historyOf(c.o.Journal)},
		"GET /v1/replicas":          {nil, c.getReplicas},
		"GET /v1/loads":             {nil, c.getLoads},
		"GET /v1/keys":              {[]string{"team", "unmanaged", "wide", "unused_for"}, c.getKeys},
		"GET /v1/acls":              {[]string{"team"}, c.getACLs},
		"GET /v1/keys/{id}":         {nil, c.getKey},
		"POST /v1/identify":         {nil, c.postIdentify},
		"GET /v1/plan":              {append([]string{"until"}, selectors...), c.getPlan},
		"GET /v1/adoptions":         {[]string{"policy*"}, c.getAdoptions},
		"GET /v1/check":             {nil, c.getCheck},
		"GET /v1/health":            {nil, c.getHealth},
		"GET /v1/events":            {[]string{"after", "policy"}, c.getEvents},
		"POST /v1/orders":           {nil, c.postOrder},
		"GET /v1/orders/{id}":       {nil, c.getOrder},
		"POST /v1/holds":            {nil, c.postHold},
		"DELETE /v1/holds/{policy}": {[]string{"by"}, c.deleteHold},
		"POST /v1/forget":           {nil, c.postForget},
		"POST /v1/reload":           {nil, c.postReload},
		"GET /v1/version":           {nil, c.getVersion},
	} {
		mux.Handle(route, c.answer(e.do, e.query...))
	}
	mux.Handle("/", c.answer(func(r *http.Request) (any, error) {
		return nil, &Error{Message: "no such call: " + r.Method + " " + r.URL.Path, Code: ExitUsage, status: http.StatusNotFound}
	}))
	return mux
}

// answer makes a handler of an endpoint: it bounds the body, refuses parameters that no one knows, and reports errors.
func (c *Server) answer(do endpoint, query ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		said, err := any(nil), checkQuery(r.URL, query)
		if err == nil {
			said, err = do(r)
		}
		if err != nil {
			e := asError(err)
			if e.status >= http.StatusInternalServerError && r.Context().Err() == nil {
				c.o.Log.Warn("a call was not answered", "path", r.URL.Path, "err", err)
			}
			c.reply(w, e.status, e)
			return
		}
		if said == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		c.reply(w, http.StatusOK, said)
	})
}

func (c *Server) reply(w http.ResponseWriter, status int, said any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(said); err != nil { // whoever asked is gone
		c.o.Log.Debug("an answer was not read", "err", err)
	}
}

func checkQuery(u *url.URL, known []string) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return usage("the query cannot be read")
	}
	for name, given := range q {
		switch {
		case slices.Contains(known, name+"*"):
		case !slices.Contains(known, name):
			return usage(fmt.Sprintf("unknown parameter %q", name))
		case len(given) > 1:
			return usage(fmt.Sprintf("parameter %q is given twice", name))
		}
	}
	return nil
}

// decode reads a JSON body strictly into v.
func decode(r *http.Request, v any) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return &Error{Message: "a body must be application/json", Code: ExitUsage, status: http.StatusUnsupportedMediaType}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the JSON value")
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return usage("the body cannot be read: " + err.Error())
}

// summaries returns the named policies, all when none is named, by name.
func (c *Server) summaries(ctx context.Context, named []string) ([]journal.Summary, error) {
	found, err := c.o.Journal.Summaries(ctx, named...)
	if err != nil {
		return nil, err
	}
	for _, name := range named {
		if !slices.ContainsFunc(found, func(s journal.Summary) bool { return s.Policy.Name == name }) {
			return nil, c.unknown(ctx, name)
		}
	}
	return found, nil
}

// mustKnow refuses a policy that the journal does not know.
func (c *Server) mustKnow(ctx context.Context, policy string) error {
	if policy == "" {
		return usage("a policy must be named")
	}
	_, err := c.summaries(ctx, []string{policy})
	return err
}

// unknown is the error for a policy that the journal does not know, with the names that may have been meant.
func (c *Server) unknown(ctx context.Context, name string) error {
	all, err := c.o.Journal.Summaries(ctx)
	if err != nil {
		return err
	}
	return unknownAmong(name, all)
}

func unknownAmong(name string, all []journal.Summary) error {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Policy.Name
	}
	message := fmt.Sprintf("no policy is named %q", name)
	if near := nearest(name, names); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	} else if len(names) == 0 {
		message += "; there are no policies"
	}
	return &Error{Message: message, Code: ExitUsage, status: http.StatusNotFound}
}

func (c *Server) getStatus(r *http.Request) (any, error) {
	found, err := c.selected(r.Context(), selectionOf(r.URL.Query()))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(found))
	for i, s := range found {
		names[i] = s.Policy.Name
	}
	if len(names) == 0 {
		return []StatusRow{}, nil
	}
	all, err := c.o.Journal.Targets(r.Context(), names...)
	if err != nil {
		return nil, err
	}
	return withTargets(c.statusRows(found), targetsOf(all)), nil
}

// targetsOf are what the policies' targets were last seen to hold, by the policies' names.
func targetsOf(all []journal.Target) map[string][]StatusTarget {
	of := make(map[string][]StatusTarget)
	for _, t := range all {
		of[t.Policy] = append(of[t.Policy], statusTarget(t))
	}
	return of
}

func withTargets(rows []StatusRow, of map[string][]StatusTarget) []StatusRow {
	for i := range rows {
		rows[i].Targets = append([]StatusTarget{}, of[rows[i].Policy]...)
	}
	return rows
}

func (c *Server) statusRows(found []journal.Summary) []StatusRow {
	rows := make([]StatusRow, len(found))
	now := c.o.Now()
	for i, s := range found {
		rows[i] = statusRow(s, now, c.needsHuman)
		rows[i].Mode = c.o.Mode()
		rows[i].Remedy = c.remedy(rows[i])
	}
	return rows
}

// remedy says what to do about a policy that is not well: what its own reason asks of people, else what its health does.
func (c *Server) remedy(row StatusRow) *string {
	why := row.HealthReason
	if row.Reason != nil && c.needsHuman(journal.Reason(*row.Reason)) {
		why = row.Reason
	}
	if why == nil || row.Health == string(health.OK) {
		return nil
	}
	do := c.reasons[journal.Reason(*why)].Do
	if do == "Nothing." {
		return nil
	}
	return text(strings.ReplaceAll(do, "POLICY", row.Policy))
}

// historyOf answers with rotations of the past.
func historyOf(past Past) endpoint {
	return func(r *http.Request) (any, error) { return history(past, r) }
}

func history(past Past, r *http.Request) (any, error) {
	q := r.URL.Query()
	if len(q["policy"]) > 1 {
		return nil, usage("history is of one policy or of all")
	}
	limit, err := number(q.Get("limit"), "limit", 0, maxHistory)
	if err != nil {
		return nil, err
	}
	policy := q.Get("policy")
	found, err := past.Rotations(r.Context(), policy, int(limit))
	if err != nil {
		return nil, err
	}
	if policy != "" && len(found) == 0 { // a policy that was forgotten keeps its history
		all, err := past.Summaries(r.Context())
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(s journal.Summary) bool { return s.Policy.Name == policy }) {
			return nil, unknownAmong(policy, all)
		}
	}
	rows := make([]HistoryRow, len(found))
	for i, rot := range found {
		rows[i] = historyRow(rot)
	}
	return rows, nil
}

// number reads a parameter that is a whole number from lowest to highest; 0 when it is not given.
func number(s, name string, lowest, highest int64) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < lowest || n > highest {
		return 0, usage(fmt.Sprintf("%s must be a whole number from %d to %d", name, lowest, highest))
	}
	return n, nil
}

// act asks the program itself for rows.
func act[T any](c *Server, ask func(Actions) ([]T, error)) (any, error) {
	if c.o.Actions == nil {
		return nil, &Error{Message: "this program cannot do that", Code: ExitFailed, status: http.StatusNotImplemented}
	}
	rows, err := ask(c.o.Actions)
	if rows == nil {
		rows = []T{}
	}
	return rows, err
}

func (c *Server) getKeys(r *http.Request) (any, error) {
	asked := r.URL.Query()
	q := KeysQuery{Team: asked.Get("team")}
	for name, is := range map[string]*bool{"unmanaged": &q.Unmanaged, "wide": &q.Wide} {
		if text := asked.Get(name); text != "" {
			var err error
			if *is, err = strconv.ParseBool(text); err != nil {
				return nil, usage(name + " must be true or false")
			}
		}
	}
	if text := asked.Get("unused_for"); text != "" {
		var err error
		if q.UnusedFor, err = time.ParseDuration(text); err != nil || q.UnusedFor < leastUnused || q.UnusedFor > mostUnused {
			return nil, usage("unused_for must be a duration from 24h to 8760h, such as 720h")
		}
	}
	return act(c, func(a Actions) ([]KeyRow, error) {
		rows, err := a.Keys(r.Context(), q)
		for i := range rows {
			rows[i].Created, rows[i].Expires = whole(rows[i].Created), whole(rows[i].Expires)
		}
		return rows, err
	})
}

// Billing is asked by the hour, and lags: less than a day says little, and more than a year is a long answer.
const (
	leastUnused = 24 * time.Hour
	mostUnused  = 365 * 24 * time.Hour
)

func (c *Server) getACLs(r *http.Request) (any, error) {
	return act(c, func(a Actions) ([]ACLRow, error) { return a.ACLs(r.Context(), r.URL.Query().Get("team")) })
}

func (c *Server) getPlan(r *http.Request) (any, error) {
	var until time.Time
	if text := r.URL.Query().Get("until"); text != "" {
		var err error
		if until, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, usage("until must be an instant in RFC 3339")
		}
	}
	return act(c, func(a Actions) ([]PlanRow, error) {
		only := selectionOf(r.URL.Query())
		names := only.Policies
		if only.Policies = nil; !only.Empty() { // names alone may be those of files that were not loaded yet
			only.Policies = names
			found, err := c.selected(r.Context(), only)
			if err != nil {
				return nil, err
			}
			names = nil
			for _, s := range found {
				names = append(names, s.Policy.Name)
			}
		}
		rows, err := a.Plan(r.Context(), names, until)
		for i := range rows {
			rows[i].At = whole(rows[i].At)
		}
		return rows, err
	})
}

func (c *Server) getAdoptions(r *http.Request) (any, error) {
	named := r.URL.Query()["policy"]
	if len(named) > 0 {
		if _, err := c.summaries(r.Context(), named); err != nil {
			return nil, err
		}
	}
	return act(c, func(a Actions) ([]AdoptionRow, error) {
		rows, err := a.Adoptions(r.Context(), named)
		for i := range rows {
			rows[i].Created = whole(rows[i].Created)
		}
		return rows, err
	})
}

func (c *Server) getCheck(r *http.Request) (any, error) {
	return act(c, func(a Actions) ([]CheckRow, error) { return a.Check(r.Context()) })
}

func (c *Server) postReload(r *http.Request) (any, error) {
	if _, err := act(c, func(a Actions) ([]int, error) { return nil, a.Reload(r.Context()) }); err != nil {
		return nil, err
	}
	c.wake()
	return nil, nil
}

func (c *Server) getVersion(*http.Request) (any, error) {
	return VersionRow{Version: c.o.Version, Started: instant(c.started), Mode: c.o.Mode()}, nil
}

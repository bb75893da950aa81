package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

const (
	pagePolicies  = 500 // shown at most, those that need attention first
	pageRotations = 20
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle template.CSS
)

// styleHash lets the browser apply this one style and nothing else.
var styleHash = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"span": span, "since": since}).Parse(pageText))

// view is what the page shows.
type view struct {
	Style    template.CSS // ours, not anyone's input
	Version  string
	Now      time.Time
	Asleep   string
	Observes bool // nothing is changed outside
	Loads    []loadView
	Policies []policyView
	More     int // policies that are not shown
	Teams    []journal.Team
	Replicas []ReplicaRow // none where there is but one process
	Recent   []HistoryRow
}

// loadView is what replicas read from their files.
type loadView struct {
	LoadRow
	Line string
}

type policyView struct {
	StatusRow
	Also     string // the state of its rotation, where State says something else
	Means    string // what the reason means
	Do       string // what to do about it
	TooOld   bool
	Alarming bool // it needs attention
}

// page shows the state of everything.
func (c *Server) page(w http.ResponseWriter, _ *http.Request) {
	s, err := c.seen.get()
	var recent []journal.Rotation
	if err == nil {
		recent, err = s.recent()
	}
	if err != nil {
		c.o.Log.Warn("the page cannot be shown", "err", err)
		tell(w, []string{"the journal does not answer; see the log"})
		return
	}
	v := view{Style: pageStyle, Version: c.o.Version, Now: c.o.Now().UTC(), Asleep: c.asleep(), Observes: c.o.Mode() == ModeObserve, Teams: s.teams}
	read := loadRows(s.loads)
	for _, l := range read {
		v.Loads = append(v.Loads, loadView{l, l.Line(v.Now, len(read) > 1)})
	}
	if len(s.replicas) > 1 {
		v.Replicas = c.replicaRows(s.replicas, s.policies)
	}
	for _, rot := range recent {
		v.Recent = append(v.Recent, historyRow(rot))
	}
	v.Policies = c.policyViews(s.policies)
	v.More = max(0, len(v.Policies)-pagePolicies)
	v.Policies = v.Policies[:len(v.Policies)-v.More]
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, v); err != nil {
		c.o.Log.Error("the page cannot be shown", "err", err)
		http.Error(w, "the page cannot be shown; see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = out.WriteTo(w) // whoever asked may be gone
}

// policyViews are the policies, those that need attention first.
func (c *Server) policyViews(found []journal.Summary) []policyView {
	views := make([]policyView, len(found))
	for i, row := range c.statusRows(found) {
		p := found[i].Policy
		why := p.Reason
		if why == "" && row.HealthReason != nil {
			why = journal.Reason(*row.HealthReason)
		}
		info := c.reasons[why]
		v := policyView{StatusRow: row, Means: info.Means,
			Do: strings.ReplaceAll(info.Do, "POLICY", p.Name)}
		if phase := phaseOf(found[i]); phase != "" && row.State != phase {
			v.Also = phase
		}
		v.TooOld = row.Age != nil && row.MaxAge != nil && *row.Age > *row.MaxAge
		v.Alarming = v.TooOld || health.Alarming(health.Health(row.Health)) || row.State == StateBlocked || p.Failures >= failuresStuck
		views[i] = v
	}
	slices.SortStableFunc(views, func(a, b policyView) int { return cmp.Compare(order(a), order(b)) })
	return views
}

// order puts on top what needs attention, then what is held, then what moves.
func order(v policyView) int {
	switch {
	case v.Alarming:
		return 0
	case v.Hold != nil:
		return 1
	case v.Rotation != nil:
		return 2
	}
	return 3
}

// span is a duration in seconds as people say it, in at most two units: 3d 4h.
func span(seconds int64) string {
	units := []struct {
		name   string
		length int64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	for i, u := range units[:3] {
		if seconds < u.length {
			continue
		}
		said := fmt.Sprintf("%d%s", seconds/u.length, u.name)
		if rest := seconds % u.length / units[i+1].length; rest > 0 {
			said += fmt.Sprintf(" %d%s", rest, units[i+1].name)
		}
		return said
	}
	return fmt.Sprintf("%ds", seconds)
}

// since is how far t lies from now, as people say it.
func since(now, t time.Time) string {
	if d := t.Sub(now); d > 0 {
		return "in " + span(int64(d/time.Second))
	}
	return span(int64(now.Sub(t)/time.Second)) + " ago"
}

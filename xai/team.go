package xai

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Models returns the models that the team's keys can be allowed to use, each once.
func (m *Management) Models(ctx context.Context, teamID string) ([]Model, error) {
	path, err := pathOf(OpTeamModels, "/auth/teams/{id}/models", teamID)
	if err != nil {
		return nil, err
	}
	var models []Model
	_, err = m.cl.do(ctx, call{op: OpTeamModels, method: http.MethodGet, path: path, tries: tries, read: func(b body) code {
		return b.decode(func(r *reader) { models = r.models() })
	}})
	if err != nil {
		return nil, err
	}
	return models, nil
}

// Endpoints returns the ACLs of endpoints that the team's keys can be given, such as api-key:endpoint:chat.
func (m *Management) Endpoints(ctx context.Context, teamID string) ([]string, error) {
	path, err := pathOf(OpEndpoints, "/auth/teams/{id}/endpoints", teamID)
	if err != nil {
		return nil, err
	}
	var acls []string
	_, err = m.cl.do(ctx, call{op: OpEndpoints, method: http.MethodGet, path: path, tries: tries, read: func(b body) code {
		return b.decode(func(r *reader) {
			if r.raw("acls") == nil {
				r.bad = "no_list"
			}
			acls = nil
			r.each("acls", func(a *reader) { acls = append(acls, a.text("acl")) })
		})
	}})
	if err != nil {
		return nil, err
	}
	return acls, nil
}

// Validate asks what the management key is and may do.
func (m *Management) Validate(ctx context.Context) (ManagementKey, error) {
	var k ManagementKey
	date, err := m.cl.do(ctx, call{op: OpValidate, method: http.MethodGet, path: "/auth/management-keys/validation",
		optional: "GET /auth/management-keys/validation", tries: tries,
		read: func(b body) code {
			return b.decode(func(r *reader) { k = r.managementKey() })
		}})
	if err != nil {
		return ManagementKey{}, err
	}
	k.Date = date
	return k, nil
}

// AuditEvents returns a page of the team's events, newest first.
func (m *Management) AuditEvents(ctx context.Context, teamID string, q AuditQuery) (AuditPage, error) {
	path, err := pathOf(OpAudit, "/audit/teams/{id}/events", teamID)
	if err != nil {
		return AuditPage{}, err
	}
	query := url.Values{"orderBy": {"TIME_DESCENDING"}}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("pageToken", q.Token)
	if q.PageSize > 0 {
		set("pageSize", strconv.Itoa(q.PageSize))
	}
	if from := stamp(q.From); from != nil {
		set("eventTimeFrom", *from)
	}
	if to := stamp(q.To); to != nil {
		set("eventTimeTo", *to)
	}
	var page AuditPage
	_, err = m.cl.do(ctx, call{op: OpAudit, method: http.MethodGet, path: path, query: query, limit: listLimit, tries: tries, optional: "GET /audit/teams/{id}/events",
		read: func(b body) code {
			return b.decode(func(r *reader) { page = r.auditPage() })
		}})
	if err != nil {
		return AuditPage{}, err
	}
	return page, nil
}

// Usage returns what the team's keys used, by the hour. Any error means "not known", never "idle".
func (m *Management) Usage(ctx context.Context, teamID string, q UsageQuery) (Usage, error) {
	path, err := pathOf(OpUsage, "/v1/billing/teams/{id}/usage", teamID)
	if err != nil {
		return Usage{}, err
	}
	if q.From.IsZero() || !q.To.After(q.From) {
		return Usage{}, invalid(OpUsage, "request")
	}
	u := Usage{From: q.From, To: q.To}
	_, err = m.cl.do(ctx, call{op: OpUsage, method: http.MethodPost, path: path, body: usageRequest(q), limit: listLimit,
		optional: "POST /v1/billing/teams/{id}/usage",
		read: func(b body) code {
			return b.decode(func(r *reader) { u.keys = r.usage() })
		}})
	if err != nil {
		return Usage{}, err
	}
	return u, nil
}

// usageTime is how billing writes times: with a space, in the zone that the request names.
const usageTime = "2006-01-02 15:04:05"

func usageRequest(q UsageQuery) usageBody {
	var b usageBody
	r := &b.AnalyticsRequest
	r.TimeRange.StartTime, r.TimeRange.EndTime = q.From.UTC().Format(usageTime), q.To.UTC().Format(usageTime)
	r.TimeRange.Timezone = "Etc/GMT"
	r.TimeUnit = "TIME_UNIT_HOUR"
	r.Values = []usageValue{{Name: "usd", Aggregation: "AGGREGATION_SUM"}}
	r.GroupBy = []string{"api_key_id"}
	r.Filters = []string{}
	return b
}

func (r *reader) managementKey() ManagementKey {
	k := ManagementKey{ID: r.text("apiKeyId"), Scope: r.text("scope"), ScopeID: r.text("scopeId"), TeamID: r.text("teamId"),
		Name: r.text("name"), ACLs: r.texts("acls", "aclStrings")}
	if k.ID == "" && r.bad == "" {
		r.bad = "no_key_id"
	}
	if k.TeamID == "" && k.Scope == "SCOPE_TEAM" { // teamId is deprecated
		k.TeamID = k.ScopeID
	}
	return k
}

func (r *reader) identity() Identity {
	id := Identity{KeyID: r.text("apiKeyId"), TeamID: r.text("teamId"), UserID: r.text("userId"), Name: r.text("name"),
		Redacted: r.text("redactedApiKey"), Created: r.time("createTime"), Modified: r.time("modifyTime"),
		ACLs:        r.texts("acls", "aclStrings"),
		TeamBlocked: r.flag("teamBlocked"), KeyBlocked: r.flag("apiKeyBlocked"), KeyDisabled: r.flag("apiKeyDisabled")}
	if id.KeyID == "" && r.bad == "" {
		r.bad = "no_key_id"
	}
	return id
}

// models gathers all clusters' models of every kind.
func (r *reader) models() []Model {
	if r.raw("clusterConfigs") == nil {
		r.bad = "no_list"
	}
	var models []Model
	seen := map[string]bool{"": true}
	r.each("clusterConfigs", func(cluster *reader) {
		for _, kind := range [][2]string{{"languageModels", "language"}, {"embeddingModels", "embedding"},
			{"imageGenerationModels", "image"}, {"audioModels", "audio"}, {"videoGenerationModels", "video"}} {
			cluster.each(kind[0], func(one *reader) {
				m := Model{Name: one.text("name"), Aliases: one.texts("aliases"), Kind: kind[1]}
				if !seen[m.Name] {
					seen[m.Name] = true
					models = append(models, m)
				}
			})
		}
		r.overflow(cluster)
	})
	return models
}

func (r *reader) auditPage() AuditPage {
	p := AuditPage{Next: r.text("nextPageToken")}
	r.each("events", func(e *reader) {
		user := e.text("user")
		if by, ok := body(e.raw("user")).object(); ok {
			user = (&reader{o: by, left: e.left}).text("userId")
		}
		p.Events = append(p.Events, AuditEvent{ID: e.text("eventId"), Description: e.text("description"), User: user, Time: e.time("eventTime")})
	})
	return p
}

func (r *reader) usage() map[string][]usagePoint {
	keys := map[string][]usagePoint{}
	r.each("timeSeries", func(s *reader) {
		group := s.texts("group")
		if len(group) != 1 {
			return // not grouped by key: says nothing of one
		}
		s.each("dataPoints", func(p *reader) { keys[group[0]] = append(keys[group[0]], p.usagePoint()) })
		if s.bad != "" {
			delete(keys, group[0]) // of a part nothing is concluded
		}
		r.overflow(s)
	})
	return keys
}

// usagePoint reads one point. What cannot be read counts as use: a key is called idle on clear words only.
func (r *reader) usagePoint() usagePoint {
	text := r.text("timestamp")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse(usageTime, text)
	}
	values := r.numbers("values")
	if err != nil || r.bad != "" || len(values) == 0 {
		return usagePoint{time: time.Unix(1<<40, 0), used: true}
	}
	return usagePoint{time: at, used: slices.ContainsFunc(values, func(v float64) bool { return v != 0 })}
}

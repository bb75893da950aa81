package xai

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
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

func (r *reader) managementKey() ManagementKey {
	k := ManagementKey{ID: r.text("apiKeyId"), Scope: r.text("scope"), ScopeID: r.text("scopeId"), TeamID: r.text("teamId"),
		OwnerID: r.text("ownerUserId"), Name: r.text("name"), ACLs: r.texts("acls", "aclStrings")}
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

package xaisim

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// event is an entry of a team's audit log.
type event struct {
	id, user, description string
	at                    time.Time
}

func (t *team) log(s *Sim, at time.Time, user, description string) {
	t.events = append(t.events, event{s.uuid(), user, description, at})
	if len(t.events) > maxEvents {
		t.events = slices.Clone(t.events[maxEvents/2:])
	}
}

func (s *Sim) teamModels(q request) answer {
	if _, no := s.teamOf(q); no != nil {
		return *no
	}
	clusters := []any{}
	for _, name := range s.o.Clusters {
		config := map[string]any{"clusterName": name}
		for _, kind := range modelKinds() {
			models := []any{}
			for _, m := range s.modelsOf(kind) {
				models = append(models, map[string]any{"name": m, "aliases": []string{m + "-latest"}, "version": "1.0", "inputModalities": []string{"TEXT"}})
			}
			config[kind] = models
		}
		clusters = append(clusters, config)
	}
	return ok(map[string]any{"clusterConfigs": clusters})
}

// modelKinds are the lists of a cluster's models.
func modelKinds() []string {
	return []string{"languageModels", "imageGenerationModels", "embeddingModels", "audioModels", "videoGenerationModels"}
}

func (s *Sim) modelsOf(kind string) []string {
	if kind == "languageModels" {
		return s.o.Models
	}
	return s.o.OtherModels[kind]
}

// hasModel reports whether there is a model of that name or alias, of any kind.
func (s *Sim) hasModel(name string) bool {
	name = strings.TrimSuffix(name, "-latest")
	return slices.ContainsFunc(modelKinds(), func(kind string) bool { return slices.Contains(s.modelsOf(kind), name) })
}

func (s *Sim) endpoints(q request) answer {
	if _, no := s.teamOf(q); no != nil {
		return *no
	}
	acls := []any{map[string]any{"acl": "api-key:endpoint:*", "description": "All endpoints"}}
	for _, name := range endpointNames() {
		acls = append(acls, map[string]any{"acl": "api-key:endpoint:" + name, "description": name})
	}
	return ok(map[string]any{"acls": acls})
}

func (s *Sim) validate(q request) answer {
	m := s.management[q.bearer]
	acls := []string{}
	for _, name := range []string{"CreateApiKey", "ListApiKeys", "UpdateApiKey", "DeleteApiKey", "CheckApiKeyPropagation", "ListPossibleEndpointAcls"} {
		acls = append(acls, "team-token:endpoint:"+name)
	}
	if !s.o.UsageUnavailable {
		acls = append(acls, "team-token:endpoint:BillingRead")
	}
	o := map[string]any{"apiKeyId": m.ID, "ownerUserId": m.owner(), "scope": "SCOPE_TEAM", "name": m.Name, "acls": acls, "ipRanges": []string{}}
	switch {
	case m.Organization:
		o["scope"], o["scopeId"] = "SCOPE_ORGANIZATION", "organization-1"
	case len(m.Teams) > 0:
		o["scopeId"], o["teamId"] = m.Teams[0], m.Teams[0]
	}
	return ok(o)
}

// audit pages newest first; a page token is a place counted from the oldest event, so that new ones do not move it.
func (s *Sim) audit(q request) answer {
	t, no := s.teamOf(q)
	if no != nil {
		return *no
	}
	size, end := 50, len(t.events)
	from, to := time.Time{}, q.at
	for _, p := range []struct {
		name string
		take func(string) error
	}{
		{"pageSize", func(v string) (err error) { size, err = strconv.Atoi(v); return err }},
		{"pageToken", func(v string) (err error) { end, err = strconv.Atoi(v); return err }},
		{"eventTimeFrom", func(v string) (err error) { from, err = time.Parse(time.RFC3339Nano, v); return err }},
		{"eventTimeTo", func(v string) (err error) { to, err = time.Parse(time.RFC3339Nano, v); return err }},
	} {
		if v := q.param(p.name); v != "" && p.take(v) != nil {
			return badField(p.name)
		}
	}
	if size < 1 || end < 0 || end > len(t.events) {
		return badField("pageSize or pageToken")
	}
	events, next := []any{}, ""
	for i := end - 1; i >= 0; i-- {
		e := t.events[i]
		if e.at.Before(from) || e.at.After(to) {
			continue
		}
		if len(events) == size {
			next = strconv.Itoa(i + 1)
			break
		}
		events = append(events, map[string]any{"eventTime": micro(e.at), "eventId": e.id, "description": e.description,
			"user": map[string]any{"userId": e.user, "email": e.user + "@team.example", "givenName": "A", "familyName": "User", "profileImageUrl": ""}})
	}
	return ok(map[string]any{"events": events, "nextPageToken": next})
}

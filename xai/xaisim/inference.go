package xaisim

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// hoursKept bounds a key's usage by the hour.
const hoursKept = 24 * 31

// authenticate finds the key behind the bearer, on the cluster where the request happens to land.
func (s *Sim) authenticate(q request) (*key, *answer) {
	k, _, no := s.authenticateAt(q)
	return k, no
}

// authenticateAt also returns the cluster.
func (s *Sim) authenticateAt(q request) (*key, int, *answer) {
	refusal := func(a answer) (*key, int, *answer) { return nil, 0, &a }
	if q.bearer == "" {
		return refusal(deny(http.StatusUnauthorized, "unauthenticated:no-credentials", "No credentials were provided."))
	}
	cluster := slices.Index(s.o.Clusters, q.host) // a regional host is its own cluster, the global one is any
	if cluster < 0 && len(s.o.Clusters) > 0 {
		cluster = s.rng.IntN(len(s.o.Clusters))
	}
	c := s.secrets[q.bearer]
	if c == nil || !s.live(c, max(0, cluster), q.at) {
		return refusal(deny(http.StatusBadRequest, s.spelling("invalid-argument", "Client specified an invalid argument"),
			"Incorrect API key provided: "+masked(q.bearer)+". You can obtain an API key from https://console.x.ai."))
	}
	k := c.key
	if k.refuses(cluster, q.at) && !((q.op == "whoami" || q.op == "me") && s.o.WhoAmIAnswersDisabled) {
		return refusal(deny(http.StatusForbidden, s.spelling("permission-denied", "The caller does not have permission to execute the specified operation"),
			"The API key "+redacted(c.plain)+" is disabled and cannot be used to perform requests."))
	}
	return k, cluster, nil
}

// spelling picks one of the two styles that codes were seen in.
func (s *Sim) spelling(slug, prose string) string {
	if s.rng.IntN(2) == 0 {
		return slug
	}
	return prose
}

// masked shows a little of the key, as xAI does: errors are not to be logged.
func masked(value string) string {
	if len(value) < 8 {
		return "***"
	}
	return value[:2] + "***" + value[len(value)-2:]
}

// allowed reports whether the key's ACLs name the endpoint or the model.
func (k *key) allowed(kind, name string) bool {
	return slices.Contains(k.acls, "api-key:"+kind+":*") || slices.Contains(k.acls, "api-key:"+kind+":"+name)
}

func (s *Sim) noEndpoint(name string) answer {
	return deny(http.StatusForbidden, s.spelling("permission-denied", "The caller does not have permission to execute the specified operation"),
		"Access to the "+name+" endpoint is denied.")
}

func (s *Sim) whoami(q request) answer {
	k, cluster, no := s.authenticateAt(q)
	if no != nil {
		return *no
	}
	if len(k.acls) == 0 {
		return s.noEndpoint("api-key")
	}
	return ok(map[string]any{
		"redacted_api_key": redacted(k.current.plain), "user_id": k.user, "name": k.name, "create_time": micro(k.created),
		"modify_time": micro(k.modified), "modified_by": k.user, "team_id": k.team.id, "acls": k.acls, "api_key_id": k.id,
		"team_blocked": k.team.blocked, "api_key_blocked": false, "api_key_disabled": k.refuses(cluster, q.at),
	})
}

// me is a newer way for a key to ask about itself.
func (s *Sim) me(q request) answer {
	k, cluster, no := s.authenticateAt(q)
	if no != nil {
		return *no
	}
	return ok(map[string]any{"team_blocked": k.team.blocked, "zdr_status": "disabled",
		"api_key": map[string]any{"id": k.id, "blocked": false, "disabled": k.refuses(cluster, q.at)}})
}

func (s *Sim) models(q request) answer {
	k, no := s.authenticate(q)
	if no != nil {
		return *no
	}
	if !k.allowed("endpoint", "models") {
		return s.noEndpoint("models")
	}
	if a := s.teamRefuses(k.team); a != nil {
		return *a
	}
	data := []any{}
	for _, m := range s.o.Models {
		if k.allowed("model", m) {
			data = append(data, map[string]any{"id": m, "object": "model", "created": 1743724800, "owned_by": "xai"})
		}
	}
	return ok(map[string]any{"data": data, "object": "list"})
}

func (s *Sim) chat(q request) answer {
	k, no := s.authenticate(q)
	if no != nil {
		return *no
	}
	if !k.allowed("endpoint", "chat") {
		return s.noEndpoint("chat")
	}
	var in struct {
		Model    string
		Messages []struct{ Role, Content string }
	}
	if json.Unmarshal(q.body, &in) != nil || in.Model == "" || len(in.Messages) == 0 {
		return plain(http.StatusUnprocessableEntity, "Failed to deserialize the JSON body into the target type: missing field")
	}
	model := s.model(in.Model)
	if model == "" || !k.allowed("model", model) && !k.allowed("model", in.Model) {
		return deny(http.StatusNotFound, s.spelling("not-found", "Some requested entity was not found"),
			"The model "+in.Model+" does not exist or your team "+k.team.id+" does not have access to it.")
	}
	if a := s.teamRefuses(k.team); a != nil {
		return *a
	}
	switch k.team.billing {
	case NoCredits:
		return deny(http.StatusForbidden, s.spelling("permission-denied", "The caller does not have permission to execute the specified operation"),
			"Your newly created team doesn't have any credits or licenses yet. You can purchase them on https://console.x.ai.")
	case SpendingLimit:
		return deny(http.StatusTooManyRequests, s.spelling("resource-exhausted", "Some resource has been exhausted"),
			"Your team "+k.team.id+" has used all available credits or reached its monthly spending limit.")
	}
	k.used(q.at)
	return ok(map[string]any{"id": s.uuid(), "object": "chat.completion", "created": q.at.Unix(), "model": model,
		"choices": []any{map[string]any{"index": 0, "message": map[string]any{"role": "assistant", "content": "Hi", "refusal": nil}, "finish_reason": "length"}},
		"usage":   map[string]any{"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}})
}

// teamRefuses is what every key of the team gets, whatever its own state.
func (s *Sim) teamRefuses(t *team) *answer {
	var a answer
	switch {
	case t.blocked:
		a = deny(http.StatusForbidden, "permission-denied", "Your team "+t.id+" is blocked.")
	case t.throttled:
		a = deny(http.StatusTooManyRequests, "resource-exhausted", "Too many requests for team "+t.id+".")
	default:
		return nil
	}
	return &a
}

// model returns a model's name, also for its alias; "" when there is none.
func (s *Sim) model(name string) string {
	for _, m := range s.o.Models {
		if name == m || name == m+"-latest" {
			return m
		}
	}
	return ""
}

func (k *key) used(now time.Time) {
	k.uses++
	k.lastUsed = now
	hour := now.Unix() / 3600
	k.hours[hour]++
	if len(k.hours) > hoursKept {
		for h := range k.hours {
			if h <= hour-hoursKept {
				delete(k.hours, h)
			}
		}
	}
}

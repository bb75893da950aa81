package awstest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// maxPolicy is AWS's limit of a managed policy, in characters that are not white space.
const maxPolicy = 6144

// iamPolicy is a policy of an identity, as far as this emulator understands them: what it does not, Attach refuses.
type iamPolicy struct {
	Version   string
	Statement []iamStatement
}

type iamStatement struct {
	Sid, Effect      string
	Action, Resource texts
	Condition        map[string]map[string]texts // operator → key → values
}

// texts is one text or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// Attach gives an access key the rights of these policies in place of what it had before. A key without policies may do
// everything, one with them only what they allow. An error says why AWS would not take a policy.
func (s *Server) Attach(accessKey string, documents ...string) error {
	var attached []iamPolicy
	for _, d := range documents {
		p, err := parsePolicy(d)
		if err != nil {
			return err
		}
		attached = append(attached, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies[accessKey] = attached
	return nil
}

var (
	sidForm    = regexp.MustCompile(`^[A-Za-z0-9]*$`)
	actionForm = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z0-9*?]+$`)
)

func parsePolicy(document string) (p iamPolicy, err error) {
	dec := json.NewDecoder(strings.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, fail("MalformedPolicyDocument", "%v", err)
	}
	size := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			size++
		}
	}
	if size > maxPolicy {
		return p, fail("LimitExceeded", "Cannot exceed quota for PolicySize: %d", maxPolicy)
	}
	if p.Version != "2012-10-17" || len(p.Statement) == 0 {
		return p, fail("MalformedPolicyDocument", "The policy must have its version and a statement.")
	}
	var sids []string
	for _, st := range p.Statement {
		if !sidForm.MatchString(st.Sid) || st.Sid != "" && slices.Contains(sids, st.Sid) {
			return p, fail("MalformedPolicyDocument", "Statement IDs (SID) must be alpha-numeric and unique.")
		}
		sids = append(sids, st.Sid)
		if err := st.check(); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (st iamStatement) check() error {
	if st.Effect != "Allow" && st.Effect != "Deny" || len(st.Action) == 0 || len(st.Resource) == 0 {
		return fail("MalformedPolicyDocument", "A statement must have an effect, actions and resources.")
	}
	for _, a := range st.Action {
		if a != "*" && !actionForm.MatchString(a) {
			return fail("MalformedPolicyDocument", "Actions/Conditions must be prefaced by a vendor: %s", a)
		}
	}
	for _, r := range st.Resource {
		if parts := strings.SplitN(r, ":", 6); r != "*" && (len(parts) != 6 || parts[0] != "arn") {
			return fail("MalformedPolicyDocument", "Resource %s must be in ARN format or \"*\".", r)
		}
	}
	for operator := range st.Condition {
		if operators[operator] == nil {
			return fail("MalformedPolicyDocument", "this emulator does not know the condition operator %s", operator)
		}
	}
	return nil
}

// operators say whether one of a policy's values fits one of the request's.
var operators = map[string]func(pattern, value string) bool{
	"StringEquals":             func(pattern, value string) bool { return pattern == value },
	"StringLike":               glob,
	"ForAnyValue:StringEquals": func(pattern, value string) bool { return pattern == value },
}

// need is one thing that a call must be allowed.
type need struct {
	action, resource string
	context          map[string][]string // condition key → the request's values
}

// allows reports whether the policies together allow the need: one statement must, and none may deny it.
func allows(policies []iamPolicy, n need) bool {
	allowed := false
	for _, p := range policies {
		for _, st := range p.Statement {
			if !st.covers(n) {
				continue
			}
			if st.Effect == "Deny" {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

func (st iamStatement) covers(n need) bool {
	action := slices.ContainsFunc(st.Action, func(a string) bool { return glob(strings.ToLower(a), strings.ToLower(n.action)) })
	resource := slices.ContainsFunc(st.Resource, func(r string) bool { return globARN(r, n.resource) })
	if !action || !resource {
		return false
	}
	for operator, keys := range st.Condition {
		for key, patterns := range keys {
			fits := slices.ContainsFunc(patterns, func(p string) bool {
				return slices.ContainsFunc(n.context[key], func(v string) bool { return operators[operator](p, v) })
			})
			if !fits {
				return false
			}
		}
	}
	return true
}

// globARN matches an ARN part by part: a wildcard does not reach over a colon, but in the last part.
func globARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	patterns, parts := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	for i, p := range patterns {
		if len(parts) != len(patterns) || !glob(p, parts[i]) {
			return false
		}
	}
	return true
}

// glob matches a text with a pattern in which * is any characters and ? is one.
func glob(pattern, text string) bool {
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '*':
			for rest := 0; rest <= len(text); rest++ {
				if glob(pattern[i+1:], text[rest:]) {
					return true
				}
			}
			return false
		case text == "" || pattern[i] != '?' && pattern[i] != text[0]:
			return false
		}
		text = text[1:]
	}
	return text == ""
}

// authorize says whether the key may make the call. The lock is held.
func (s *Server) authorize(at scope, action string, in *request) error {
	policies, limited := s.policies[at.key]
	if !limited {
		return nil
	}
	sec, arn, kmsKey := s.regions[at.region][in.Name], "", in.KmsKeyID
	if in.SecretID != "" {
		sec, _ = s.lookup(at.region, in.SecretID)
	}
	switch {
	case sec != nil:
		arn, kmsKey = sec.arn, sec.kmsKey
	case strings.HasPrefix(in.SecretID, "arn:"):
		arn = in.SecretID
	default: // AWS documents that NAME-?????? reaches a secret that is not there yet, too
		arn = fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-AbCdEf", at.region, account, in.id())
	}
	if !allows(policies, need{action: "secretsmanager:" + action, resource: arn}) {
		return fail("AccessDeniedException", "User: %s is not authorized to perform: secretsmanager:%s on resource: %s because no identity-based policy allows the secretsmanager:%s action", at.key, action, in.id(), action)
	}
	if tag := (need{action: "secretsmanager:TagResource", resource: arn}); len(in.Tags) > 0 && !allows(policies, tag) {
		return fail("AccessDeniedException", "User: %s is not authorized to perform: secretsmanager:TagResource on resource: %s", at.key, in.id())
	}
	for _, use := range kmsUses(action, in) {
		if kmsKey != "" && !allows(policies, kmsNeed(at.region, kmsKey, use)) {
			return fail("AccessDeniedException", "Access to KMS is not allowed")
		}
	}
	return nil
}

// kmsUses is what Secrets Manager does with a key of the customer's in the caller's name:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
func kmsUses(action string, in *request) []string {
	switch {
	case action == "GetSecretValue":
		return []string{"kms:Decrypt"}
	case in.given():
		return []string{"kms:GenerateDataKey", "kms:Decrypt"}
	}
	return nil
}

// aliased is the id of every key that is named by an alias.
const aliased = "11111111-2222-3333-4444-555555555555"

func kmsNeed(region, key, action string) need {
	n := need{action: action, context: map[string][]string{"kms:ViaService": {"secretsmanager." + region + ".amazonaws.com"}}}
	in := fmt.Sprintf("arn:aws:kms:%s:%s:", region, account)
	id := strings.TrimPrefix(strings.TrimPrefix(key, in), "key/")
	if strings.HasPrefix(id, "alias/") {
		n.context["kms:ResourceAliases"], id = []string{id}, aliased
	}
	n.resource = in + "key/" + id
	return n
}

package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// refusal is one thing that a folder's limits do not allow.
type refusal struct {
	steps      []any // to the value in the policy
	what, want string
}

// limits refuses what the folder of the policy is not allowed to do. It comes after the defaults were filled in.
func (c *checker) limits() {
	if c.folder == nil || c.folder.Allow == nil {
		return
	}
	for _, r := range refusals(c.p, *c.folder, c.options.Stores) {
		c.at(r.what, r.want, r.steps...)
	}
}

// refusals are all that a folder's limits do not allow a policy, each with the rule that refuses it. stores are name → type.
// TestEveryFieldHasADecision names the rule of each field, and why a field needs none.
func refusals(p *Policy, folder Folder, stores map[string]string) []refusal {
	r := &refusing{name: folder.Name + ".allow", allow: folder.Allow}
	r.one("teams", "team", p.Team, r.allow.Teams, "team")
	r.labels(p)
	for i, acl := range p.Key.ACLs {
		r.one("acls", fmt.Sprintf("key.acls[%d]", i), acl, r.allow.ACLs, "key", "acls", i)
	}
	r.verify(p)
	for i, t := range p.Targets {
		r.target(i, t, stores[t.Store])
	}
	if p.Adopt.On && !r.allow.Adopt {
		r.refuse("adopt", "is not true; this policy takes over a key that it did not make", "no adopt", "adopt")
	}
	if least := r.allow.MinOverlap; least != nil && p.Retire.Overlap < *least {
		r.refuse("min_overlap", fmt.Sprintf("is %s; retire.overlap is %s here", *least, p.Retire.Overlap), "at least "+least.String(), "retire", "overlap")
	}
	if least := r.allow.MinSoak; least != nil && p.Retire.Soak < *least {
		r.refuse("min_soak", fmt.Sprintf("is %s; retire.soak is %s here", *least, p.Retire.Soak), "at least "+least.String(), "retire", "soak")
	}
	if most := r.allow.MaxAgeAtMost; most != nil && (p.MaxAge == 0 || p.MaxAge > *most) {
		age := "is " + p.MaxAge.String()
		if p.MaxAge == 0 {
			age = "is not given"
		}
		r.refuse("max_age_at_most", fmt.Sprintf("is %s; max_age %s here", *most, age), "max_age: "+most.String()+" or less", "max_age")
	}
	return r.all
}

type refusing struct {
	name  string
	allow *Allow
	all   []refusal
}

// refuse notes a refusal by a rule, such as teams.
func (r *refusing) refuse(rule, what, want string, steps ...any) {
	r.all = append(r.all, refusal{steps, r.name + "." + rule + " " + what, want + "; or ask whoever edits rotator.yaml"})
}

// one refuses a value that no pattern of a rule names.
func (r *refusing) one(rule, key, value string, patterns []string, steps ...any) {
	if value != "" && !coversAny(patterns, value) {
		r.refuse(rule, fmt.Sprintf("%s; %s is %s here", allows(patterns), key, say(value)), "one that is allowed", steps...)
	}
}

// labels refuses labels that are not named, and values that theirs may not have.
func (r *refusing) labels(p *Policy) {
	for _, name := range namesOf(p.Labels) {
		if values, ok := r.allow.Labels[name]; !ok {
			r.refuse("labels", fmt.Sprintf("names %s; this policy has the label %s", joined(namesOf(r.allow.Labels)), say(name)), "no such label", "labels", name)
		} else if !coversAny(values, p.Labels[name]) {
			r.refuse("labels."+name, fmt.Sprintf("%s; the label is %s here", allows(values), say(p.Labels[name])), "a value that is allowed", "labels", name)
		}
	}
}

func (r *refusing) verify(p *Policy) {
	switch method := p.Verify.Method; {
	case r.allow.Verify != nil:
		r.one("verify", "verify.method", method, r.allow.Verify, "verify", "method")
	case method != MethodChat && method != "":
		r.refuse("verify", "is not given and so allows chat, the default; verify.method is "+say(method)+" here", "chat", "verify", "method")
	}
}

// target refuses a place that is not named, and access to a file that is not.
func (r *refusing) target(i int, t Target, kind string) {
	at := []any{"targets", i}
	here := fmt.Sprintf("targets[%d].", i)
	if t.Store != "" && t.Path != "" {
		r.place(i, t, kind)
	}
	r.one("file_owners", here+"owner", t.Owner, r.allow.FileOwners, append(at, "owner")...)
	r.one("file_groups", here+"group", t.Group, r.allow.FileGroups, append(at, "group")...)
	if t.Mode != "" && !slices.ContainsFunc(r.allow.FileModes, func(mode string) bool { return sameMode(mode, t.Mode) }) {
		r.refuse("file_modes", fmt.Sprintf("%s; %smode is %s here", allows(r.allow.FileModes), here, say(t.Mode)), "one that is allowed, or none", append(at, "mode")...)
	}
}

// place refuses a target whose place no pattern of its store names.
func (r *refusing) place(i int, t Target, kind string) {
	patterns, named := r.allow.Stores[t.Store]
	if !named {
		r.refuse("stores", fmt.Sprintf("names %s; this target is in %s", joined(namesOf(r.allow.Stores)), say(t.Store)), "a target in a store that is allowed", "targets", i, "store")
		return
	}
	if !plainPlace(t.Path) {
		r.refuse("stores", "is matched on the place itself; this path has a part that is empty, '.', '..', or ends in .rotator, where keys are staged", "the plain path", "targets", i, "path")
		return
	}
	field := t.Field
	if field == "" && (kind == "vault" || kind == "kubernetes") {
		field = defaultField
	}
	if slices.ContainsFunc(patterns, func(p string) bool { return coversPlace(p, t.Path, field) }) {
		return
	}
	at := t.Store + " " + say(t.Path)
	if field != "" {
		at += ", field " + say(field)
	}
	want := "a path that is allowed"
	if kind == "aws" && strings.HasPrefix(t.Path, arnPrefix) {
		want += ", and the secret's name unless its ARN is allowed"
	}
	r.refuse("stores", fmt.Sprintf("allows %s: %s; this target is %s", t.Store, joined(patterns), at), want, "targets", i, "path")
}

// sameMode reports whether two octal modes are one: 0640 and 640.
func sameMode(a, b string) bool {
	return strings.TrimLeft(a, "0") == strings.TrimLeft(b, "0")
}

// allows says what a rule allows.
func allows(patterns []string) string {
	if len(patterns) == 0 {
		return "is not given and so allows none"
	}
	return "allows " + joined(patterns)
}

// joined is the beginning of a list in words.
func joined(all []string) string {
	const most = 8
	if len(all) == 0 {
		return "none"
	}
	text := strings.Join(all[:min(most, len(all))], ", ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// say is a value, or a word in its place where it is not quoted since it could be a secret.
func say(value string) string {
	if quoted := quote(value); quoted != "" {
		return strings.Trim(quoted, ` "`)
	}
	return "another one"
}

// namesOf are the names of a map, in order.
func namesOf[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

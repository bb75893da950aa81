// Package policies is what a rotation policy is: its format, the checks it passes at load, and when its schedule runs.
//
// A policy says which key to keep young (its team, rights and limits), where the key is read (targets), how a successor
// is proved (verify), how often it is replaced (schedule, max_age), and how long the old key stays (retire). Policies
// live in YAML files, several documents to a file where that is handy. [Load] reads a folder of them. A mistake costs only
// what it names, and a policy that was accepted before stays as it was: a typing error must not make a key silently unmanaged.
//
// Nothing here talks to xAI, to a store or to the journal, and nothing here ever sees a key. Still, a key may be pasted
// into a policy by mistake, so a [Problem] quotes a value only if it is short and does not look like a credential.
//
// When a policy is due, for its schedule or another cause, package rotation/due says.
package policies

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The methods that prove a key, see [Verify].
const (
	MethodChat   = "chat"
	MethodModels = "models"
	MethodWhoami = "whoami"
)

// Policy keeps one xAI API key young. [Parse] and [Load] return policies with every default filled in and checked;
// they are shared between goroutines and must not be changed.
//
// Whom the struct tags serve: `yaml` those who write policies, `json` the journal, the decoder and the JSON Schema,
// `jsonschema` the schema and, by "required", the decoder.
type Policy struct {
	// Name of the policy: it becomes part of the names of keys and must never be reused for another purpose.
	Name string `yaml:"name" json:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9._-]{0\\,62}$"`
	// Team whose key this is, by its name in rotator.yaml.
	Team string `yaml:"team" json:"team" jsonschema:"required,pattern=^[a-z0-9][a-z0-9._-]{0\\,62}$"`
	// Owner is told when a human is needed: an address or the name of a team, free text.
	Owner string `yaml:"owner,omitempty" json:"owner,omitempty" jsonschema:"minLength=1,maxLength=200"`
	// Labels are names and values of your own, such as {tier: prod}. Freezes in rotator.yaml pick policies by them.
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
	// Schedule of rotations: cron with five fields ("0 3 1 * *"), @hourly to @yearly, or "@every 720h" after the last success.
	Schedule string `yaml:"schedule" json:"schedule" jsonschema:"required,minLength=1"`
	// Timezone in which the cron fields are read, an IANA name. Default: UTC.
	Timezone string `yaml:"timezone,omitempty" json:"timezone,omitempty" jsonschema:"minLength=1,default=UTC"`
	// Jitter spreads policies with the same schedule: each is put off by a steady part of it that follows from its name. Default: 0s.
	Jitter Duration `yaml:"jitter,omitempty" json:"jitter,omitempty"`
	// Windows are the parts of the week in which a scheduled rotation may begin, in timezone: "Mon-Fri 08:00-17:00", "Sat,Sun
	// 22:00-04:00", "02:00-05:00". One that is due outside of them waits until the next one opens, but never longer than max_age and
	// the key's expiry allow. Default: at any time.
	Windows []string `yaml:"windows,omitempty" json:"windows,omitempty"`
	// MaxAge is the oldest that a key that still works may get. Rotations begin early enough to keep it; an alert fires if it is broken.
	MaxAge Duration `yaml:"max_age,omitempty" json:"max_age,omitempty"`
	// Key says what every successor may do.
	Key KeySpec `yaml:"key" json:"key" jsonschema:"required"`
	// Verify says how a successor is proved before consumers see it, and after.
	Verify Verify `yaml:"verify,omitempty" json:"verify"`
	// Targets are the places where consumers read the key. All of them hold the same key.
	Targets []Target `yaml:"targets" json:"targets" jsonschema:"required,minItems=1"`
	// Canary gives a new key to one target first. Default: all targets get it at once.
	Canary Canary `yaml:"canary,omitempty" json:"canary,omitzero"`
	// Adopt makes the key that the targets hold at first contact a predecessor of this policy, to be retired. {key_id: ID}
	// names the key: no other is adopted, and where xAI does not say which key a value is, none without it. Default: false.
	Adopt Adopt `yaml:"adopt,omitempty" json:"adopt,omitzero" jsonschema:"default=false"`
	// AllowNarrowing lets adopt take over a key that may do more than key.acls, and lets an edit of key.acls take rights away from
	// the key in use at once. Without it such a key is neither adopted nor replaced, since its consumers would lose the rest at the
	// first promotion, without an overlap; and narrower rights come with the next rotation. Default: false.
	AllowNarrowing bool `yaml:"allow_narrowing,omitempty" json:"allow_narrowing,omitempty" jsonschema:"default=false"`
	// Retire says when the old key is disabled and deleted.
	Retire Retire `yaml:"retire" json:"retire"`
	// RenamedFrom is the former name of this policy: what belongs to it (keys, history, targets) moves here.
	RenamedFrom string `yaml:"renamed_from,omitempty" json:"renamed_from,omitempty" jsonschema:"pattern=^[a-z0-9][a-z0-9._-]{0\\,62}$"`

	// File and Line are where the policy begins. They are not part of what the journal records.
	File string `yaml:"-" json:"-"`
	Line int    `yaml:"-" json:"-"`

	// inert: the renaming that RenamedFrom asked for is over, and the name is another folder's by now.
	inert bool
	// timetable is the compiled schedule. Parse and Load set it; without it NextRun compiles again on every call.
	timetable *timetable
}

// KeySpec is what xAI is asked for when a key is created, and what the key in use is updated to when it is edited.
type KeySpec struct {
	// ACLs of the key: api-key:model:NAME, api-key:endpoint:NAME, or * in the place of NAME.
	ACLs []string `yaml:"acls" json:"acls" jsonschema:"required,minItems=1,uniqueItems=true"`
	// QPS is the limit of requests a second. Default: the team's.
	QPS *int `yaml:"qps,omitempty" json:"qps,omitempty" jsonschema:"minimum=1,maximum=2147483647"`
	// QPM is the limit of requests a minute. Default: the team's.
	QPM *int `yaml:"qpm,omitempty" json:"qpm,omitempty" jsonschema:"minimum=1,maximum=2147483647"`
	// TPM is the limit of tokens a minute: an integer in quotes, as xAI's API has it. Default: the team's.
	TPM *string `yaml:"tpm,omitempty" json:"tpm,omitempty" jsonschema:"pattern=^[1-9][0-9]{0\\,17}$"`
	// ExpiresAfter is how long a key works if nothing replaces it or prolongs it: a safety net for the time when the rotator itself is
	// gone. It must be longer than a key is in use and in its overlap. Default: keys do not expire.
	ExpiresAfter Duration `yaml:"expires_after,omitempty" json:"expires_after,omitempty"`
	// Enforce sets limits, rights, expiry and name right that someone changed at xAI. Without it such a change is only reported. Default: false.
	Enforce bool `yaml:"enforce,omitempty" json:"enforce,omitempty" jsonschema:"default=false"`
}

// Verify is the call that proves a key.
type Verify struct {
	// Method is how: chat asks the model for one token, models lists the models, whoami asks only who the key is. Default: chat.
	Method string `yaml:"method,omitempty" json:"method,omitempty" jsonschema:"enum=chat,enum=models,enum=whoami,default=chat"`
	// Model that chat talks to. Default: the first that key.acls names.
	Model string `yaml:"model,omitempty" json:"model,omitempty" jsonschema:"minLength=1"`
}

// Target is one place in one store. Two targets are the same place when store, path and field are equal.
type Target struct {
	// Store by its name in rotator.yaml.
	Store string `yaml:"store" json:"store" jsonschema:"required,pattern=^[a-z0-9][a-z0-9._-]{0\\,62}$"`
	// Path of the secret in the store's own terms: a KV path, a secret's name or ARN, a file below the store's folder.
	Path string `yaml:"path" json:"path" jsonschema:"required,minLength=1,maxLength=2048"`
	// Field of a structured secret that holds the key; the other fields are kept. Default: the store's (the whole value, or "value" in Vault).
	Field string `yaml:"field,omitempty" json:"field,omitempty" jsonschema:"minLength=1,maxLength=256"`
	// Owner of the file: a user's name or number. Stores of type file only; default: kept as it is.
	Owner string `yaml:"owner,omitempty" json:"owner,omitempty" jsonschema:"pattern=^[A-Za-z0-9_][A-Za-z0-9_.-]{0\\,63}$"`
	// Group of the file: a group's name or number. Stores of type file only; default: kept as it is.
	Group string `yaml:"group,omitempty" json:"group,omitempty" jsonschema:"pattern=^[A-Za-z0-9_][A-Za-z0-9_.-]{0\\,63}$"`
	// Mode of the file in quotes, such as "0640". Stores of type file only; default: kept as it is, 0600 when new.
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty" jsonschema:"pattern=^0?[0-7]{3}$"`
	// Format of the file in which field is replaced: dotenv for lines of NAME=value, as in a .env file or systemd's EnvironmentFile. Stores of type file only, together with field; default: a JSON object.
	Format string `yaml:"format,omitempty" json:"format,omitempty" jsonschema:"enum=dotenv"`
}

// Options are the target's settings that only its store understands, nil if there are none.
func (t Target) Options() map[string]string {
	var options map[string]string
	for name, value := range map[string]string{"owner": t.Owner, "group": t.Group, "mode": t.Mode, "format": t.Format} {
		if value != "" {
			if options == nil {
				options = make(map[string]string)
			}
			options[name] = value
		}
	}
	return options
}

// Canary is the target that gets a new key first, and for how long alone. The others follow once billing says that its consumers use the
// new key, or when the time is over, and before the old key expires. A new key that fails meanwhile is taken back from that one
// target. A key that is replaced because it fails or is known to others waits for no canary.
type Canary struct {
	// Target is one of targets: store:path, or store:path#field where it has a field.
	Target string `yaml:"target" json:"target" jsonschema:"required,minLength=1"`
	// For is the longest time that the other targets wait.
	For Duration `yaml:"for" json:"for" jsonschema:"required"`
}

// Wanted reports whether there is a canary.
func (c Canary) Wanted() bool { return c.Target != "" }

// String is "store:path#field", without "#" when the field is the store's default. It names the target in the journal,
// on the command line and in events.
func (t Target) String() string {
	if t.Field == "" {
		return t.Store + ":" + t.Path
	}
	return t.Store + ":" + t.Path + "#" + t.Field
}

// Retire is the pace at which an old key leaves.
type Retire struct {
	// Overlap is how long the old key keeps working beside the new one; 0s means not at all. Default: 24h.
	Overlap Duration `yaml:"overlap" json:"overlap"`
	// Soak is how long the old key stays disabled before it is deleted; 0s means deleted without being disabled first. Default: 24h.
	Soak Duration `yaml:"soak" json:"soak"`
	// RequireIdle: disable the old key only once it was not used for this long. Default: not asked.
	RequireIdle Duration `yaml:"require_idle,omitempty" json:"require_idle,omitempty"`
	// MaxWait is the longest wait for require_idle; then the old key is retired anyway. Default: it waits forever.
	MaxWait Duration `yaml:"max_wait,omitempty" json:"max_wait,omitempty"`
}

// Former is the name of the policy that this one takes over what belongs to, "" for none.
func (p *Policy) Former() string {
	if p.inert {
		return ""
	}
	return p.RenamedFrom
}

// Canonical is the policy as the journal records it: JSON with every default filled in, the same bytes for the same
// policy. File and Line are left out, so moving a policy to another file changes nothing.
func (p *Policy) Canonical() []byte {
	data, err := json.Marshal(p)
	if err != nil { // strings, numbers and Durations only: cannot happen
		panic("policies: " + err.Error())
	}
	return data
}

// Decode returns the policy that Canonical wrote. It checks nothing beyond the form: a policy recorded under older rules
// must stay readable, or the rotation in flight could not be finished.
func Decode(canonical []byte) (*Policy, error) {
	p := &Policy{}
	if err := json.Unmarshal(canonical, p); err != nil {
		return nil, fmt.Errorf("decode recorded policy: %w", err)
	}
	return p, nil
}

// Covers reports whether one of acls is acl, or has its * where acl has a name: api-key:model:* covers api-key:model:grok-4.
func Covers(acls []string, acl string) bool {
	return slices.ContainsFunc(acls, func(a string) bool {
		kind, all := strings.CutSuffix(a, "*")
		return a == acl || all && strings.HasSuffix(kind, ":") && strings.HasPrefix(acl, kind)
	})
}

// Uncovered returns those of a key's ACLs that acls do not cover, sorted.
func Uncovered(acls, of []string) []string {
	return sorted(slices.DeleteFunc(slices.Clone(of), func(acl string) bool { return Covers(acls, acl) }), strings.Compare)
}

// SameRotation reports whether team, verification and targets are equal. Lists are compared as sets. Where it is false, a
// rotation in flight that has not begun to promote is planned again. Any other edit leaves it alone; rights, limits and expiry of the
// key are taken along.
func (p *Policy) SameRotation(q *Policy) bool {
	return p.Team == q.Team && p.Verify == q.Verify &&
		slices.Equal(sorted(p.Targets, compareTargets), sorted(q.Targets, compareTargets))
}

func sorted[T any](list []T, compare func(a, b T) int) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, compare)
	return list
}

func compareTargets(a, b Target) int {
	return strings.Compare(a.String(), b.String())
}

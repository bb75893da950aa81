package policies

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"rotator/internal/dotenv"

	"go.yaml.in/yaml/v4"
)

const (
	defaultMinInterval = time.Hour
	defaultField       = "value" // where a target without a field keeps the key, in Vault and in a Kubernetes Secret
)

// The forms of names and rights. The struct tags of Policy repeat the first three for the schema; a test compares them.
var (
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	userForm   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
	modeForm   = regexp.MustCompile(`^0?[0-7]{3}$`)
	formatForm = regexp.MustCompile(`^dotenv$`)
	tpmForm    = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)
	modelForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$`)
	aclForm    = regexp.MustCompile(`^api-key:(model|endpoint):(\*|[A-Za-z0-9][A-Za-z0-9._:/-]{0,127})$`)

	// A secret's name: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
	awsForm = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]{1,512}$`)

	// A namespace and a Secret's name, by k8s.io/apimachinery's validation: a DNS label and a DNS subdomain.
	secretForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

const (
	nameWant = "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"
	aclWant  = "api-key:model:NAME, api-key:endpoint:NAME, or * in the place of NAME"

	modelACL    = "api-key:model:"
	endpointACL = "api-key:endpoint:"
)

// endpoints are those that xAI's reference lists. Others may come, so only what looks like one mistyped is refused.
func endpoints() []string {
	return []string{"chat", "image", "embed", "models", "sample", "tokenize", "documents"}
}

// checker checks one policy after it was decoded; what could not be decoded is zero and was reported already.
type checker struct {
	*decoder
	*loader
	p    *Policy
	root *yaml.Node
}

// validate fills in the defaults and reports what is impossible.
func (l *loader) validate(d *decoder, p *Policy, root *yaml.Node) {
	c := &checker{d, l, p, root}
	c.names()
	c.key()
	c.verify()
	for i := range p.Targets {
		c.target(i)
	}
	c.retire()
	c.canary()
	c.schedule()
	c.windows()
	c.labels()
	c.maxAge()
	c.expiresAfter()
	c.limits()
}

// at reports a problem at the value with this path.
func (c *checker) at(what, want string, steps ...any) {
	top, _ := steps[0].(string)
	c.fail(find(c.root, steps...), top, what, want)
}

func (c *checker) names() {
	for _, f := range []struct{ key, value string }{{"name", c.p.Name}, {"team", c.p.Team}, {"renamed_from", c.p.RenamedFrom}} {
		if f.value != "" && !nameForm.MatchString(f.value) {
			c.at(f.key+quote(f.value)+" is no valid name", nameWant, f.key)
		}
	}
	if c.p.RenamedFrom != "" && c.p.RenamedFrom == c.p.Name {
		c.at("renamed_from is the policy's own name", "its former name", "renamed_from")
	}
	if len([]rune(c.p.Owner)) > 200 || strings.ContainsFunc(c.p.Owner, unicode.IsControl) {
		c.at("owner is longer than 200 characters or has control characters", "one line", "owner")
	}
	if !c.failed["team"] {
		c.known("team", c.p.Team, c.options.Teams, "team")
	}
}

// known checks a name against those of rotator.yaml.
func (c *checker) known(what, name string, all map[string]string, steps ...any) {
	if _, ok := all[name]; ok || all == nil || name == "" {
		return
	}
	want := "one that rotator.yaml names (it names none)"
	if list := slices.Sorted(maps.Keys(all)); len(list) > 0 {
		want = "one of " + strings.Join(list, ", ")
		if near := suggest(name, list); near != "" {
			want += " (did you mean " + near + "?)"
		}
	}
	c.at("unknown "+what+quote(name), want, steps...)
}

func (c *checker) key() {
	first := map[string]int{} // ACL → index
	for i, acl := range c.p.Key.ACLs {
		if acl == "" {
			continue
		}
		what := fmt.Sprintf("key.acls[%d]%s", i, quote(acl))
		if !aclForm.MatchString(acl) {
			c.at(what+" is no ACL", aclWant, "key", "acls", i)
			continue
		}
		if j, twice := first[acl]; twice {
			c.at(fmt.Sprintf("%s is the same as key.acls[%d]", what, j), "each ACL once", "key", "acls", i)
		}
		first[acl] = i
		if endpoint, ok := strings.CutPrefix(acl, endpointACL); ok && !slices.Contains(endpoints(), endpoint) {
			if near := suggest(endpoint, endpoints()); near != "" {
				c.at(what+" is no known endpoint", endpointACL+near+" (did you mean that?)", "key", "acls", i)
			}
		}
	}
	if tpm := c.p.Key.TPM; tpm != nil && !tpmForm.MatchString(*tpm) {
		c.at("key.tpm"+quote(*tpm)+" is no whole number from 1 on", `an integer in quotes, such as "200000"`, "key", "tpm")
	}
}

// verify fills in the default method and model and checks that the ACLs allow the call.
func (c *checker) verify() {
	v := &c.p.Verify
	if c.failed["verify"] {
		return
	}
	if v.Method == "" {
		v.Method = MethodChat
	}
	switch v.Method {
	case MethodChat, MethodModels, MethodWhoami:
	default:
		c.at("verify.method"+quote(v.Method)+" is not known", "chat, models or whoami", "verify", "method")
		return
	}
	if v.Model != "" && v.Method != MethodChat {
		c.at("verify.model is given, but "+v.Method+" talks to no model", "no model, or method: chat", "verify", "model")
	}
	if v.Model != "" && !modelForm.MatchString(v.Model) {
		c.at("verify.model"+quote(v.Model)+" is no name of a model", "a name such as grok-4", "verify", "model")
		return
	}
	if c.failed["key"] { // nothing sure to compare with
		return
	}
	switch v.Method {
	case MethodChat:
		c.verifyChat()
	case MethodModels:
		if !c.allows(endpointACL, "models") {
			c.at("verify: the ACLs do not allow to list models", endpointACL+"models in key.acls, or method: whoami", "verify", "method")
		}
	}
}

func (c *checker) verifyChat() {
	v := &c.p.Verify
	if !c.allows(endpointACL, "chat") {
		c.at("verify: the ACLs do not allow chat", endpointACL+"chat in key.acls, or verify: {method: whoami}", "verify", "method")
		return
	}
	if v.Model == "" {
		for _, acl := range c.p.Key.ACLs {
			if model, ok := strings.CutPrefix(acl, modelACL); ok && model != "*" {
				v.Model = model
				return
			}
		}
		if c.allows(modelACL, "*") {
			c.at("verify.model is missing, and the ACLs name no model", "verify: {method: chat, model: NAME}", "verify")
			return
		}
	}
	if !c.allows(modelACL, v.Model) {
		c.at("verify: the ACLs do not allow the model"+quote(v.Model), modelACL+"NAME in key.acls for the model that verify uses", "verify", "model")
	}
}

func (c *checker) allows(kind, name string) bool {
	return Covers(c.p.Key.ACLs, kind+name)
}

func (c *checker) target(i int) {
	t := c.p.Targets[i]
	here := fmt.Sprintf("targets[%d].", i)
	if t.Store != "" && !nameForm.MatchString(t.Store) {
		c.at(here+"store"+quote(t.Store)+" is no valid name", nameWant, "targets", i, "store")
	} else {
		c.known("store", t.Store, c.options.Stores, "targets", i, "store")
	}
	kind := c.options.Stores[t.Store] // "" where it is not known
	if what, want := badPath(t.Path, kind); what != "" {
		c.at(here+"path"+quote(t.Path)+" "+what, want, "targets", i, "path")
	}
	if len(t.Field) > 256 || strings.ContainsFunc(t.Field, unicode.IsControl) {
		c.at(here+"field is longer than 256 bytes or has control characters", "the name of one field", "targets", i, "field")
	}
	for _, f := range []struct {
		key, value string
		form       *regexp.Regexp
		want       string
	}{
		{"owner", t.Owner, userForm, "the name or number of a user"},
		{"group", t.Group, userForm, "the name or number of a group"},
		{"mode", t.Mode, modeForm, `three octal digits in quotes, such as "0640"`},
		{"format", t.Format, formatForm, "dotenv, or it left out for a JSON object"},
	} {
		switch {
		case f.value == "":
		case kind != "" && kind != "file":
			c.at(here+f.key+" is given, but a store of type "+kind+" has no files", "it left out", "targets", i, f.key)
		case !f.form.MatchString(f.value):
			c.at(here+f.key+quote(f.value)+" is not valid", f.want, "targets", i, f.key)
		}
	}
	if t.Format != "" && !dotenv.Name(t.Field) {
		c.at(here+"format is given, but field"+quote(t.Field)+" is no variable's name", "field: NAME, of letters, digits and underscores, such as XAI_API_KEY", "targets", i, "format")
	}
}

// badPath says what is wrong with a target's path in a store of this type, "" if nothing.
func badPath(p, kind string) (what, want string) {
	if p == "" {
		return "", ""
	}
	if len(p) > 2048 || strings.ContainsFunc(p, unicode.IsControl) || strings.TrimSpace(p) != p {
		return "is longer than 2048 bytes, or has control characters or spaces around it", "a plain path"
	}
	switch kind {
	case "file":
		if strings.HasPrefix(p, "/") {
			return "is absolute", "a path below the store's folder"
		}
		if path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../") {
			return "has '..', '.', or a slash too many", "the plain path below the store's folder"
		}
		if strings.HasPrefix(p, ".rotator") || strings.Contains(p, "/.rotator") {
			return "has a part that begins with .rotator, as the store's own files do", "another path"
		}
	case "vault":
		if path.Clean("/"+p) != "/"+p || p == "/" || strings.Contains(p, "..") { // Vault takes no two dots in a row
			return "has '..', '.', or a slash at its beginning, end or twice", "the plain path below the mount, such as llm/chat-prod"
		}
	case "aws":
		if !strings.HasPrefix(p, "arn:") && !awsForm.MatchString(p) {
			return "is no name of a secret", "letters, digits and /_+=.@- up to 512, or an ARN"
		}
	case "kubernetes":
		if !secretForm.MatchString(p) {
			return "is no Secret", "NAMESPACE/NAME, in lower case, as Kubernetes names them"
		}
		if strings.HasSuffix(p, ".rotator") {
			return "is where the store stages", "the Secret that consumers read"
		}
	}
	return "", ""
}

func (c *checker) retire() {
	r := c.p.Retire
	switch {
	case c.failed["retire"] || r.MaxWait == 0:
	case r.RequireIdle == 0:
		c.at("retire.max_wait is given without require_idle, so there is nothing to wait for", "require_idle too, or no max_wait", "retire", "max_wait")
	case r.MaxWait < r.RequireIdle:
		c.at(fmt.Sprintf("retire.max_wait %s is shorter than require_idle %s, which would never be seen", r.MaxWait, r.RequireIdle),
			"a longer max_wait", "retire", "max_wait")
	}
}

// schedule compiles the schedule and compares its intervals with what a rotation needs.
func (c *checker) schedule() {
	p := c.p
	if p.Timezone == "" {
		p.Timezone = "UTC"
	}
	if p.Schedule == "" || c.failed["timezone"] {
		return
	}
	t, err := c.compile(p.Schedule, p.Timezone)
	var wrong *scheduleError
	if errors.As(err, &wrong) {
		c.at(wrong.what, wrong.want, wrong.field)
		return
	}
	p.timetable = t
	least, stay := c.minInterval(), (p.Retire.Overlap + p.Retire.Soak).Std()
	of := fmt.Sprintf("retire.overlap %s + soak %s", p.Retire.Overlap, p.Retire.Soak)
	if p.Canary.Wanted() {
		stay += p.Canary.For.Std()
		of += fmt.Sprintf(" + canary.for %s", p.Canary.For)
	}
	limit := least
	if !c.failed["retire"] {
		limit = max(limit, stay)
	}
	switch shortest := t.shortest(max(limit, p.Jitter.Std()+1)); {
	case shortest < least:
		c.at(fmt.Sprintf("schedule%s runs every %s at times, the limit min_interval is %s", quote(p.Schedule), Duration(shortest), Duration(least)),
			fmt.Sprintf("at least %s between two runs", Duration(least)), "schedule")
	case shortest < limit:
		c.at(fmt.Sprintf("schedule%s runs every %s at times, but an old key stays for %s (%s)",
			quote(p.Schedule), Duration(shortest), Duration(stay), of),
			fmt.Sprintf("at least %s between two runs, or a shorter overlap or soak", Duration(stay)), "schedule")
	case p.Jitter.Std() >= shortest:
		c.at(fmt.Sprintf("jitter %s is not shorter than the %s between two runs", p.Jitter, Duration(shortest)), "a shorter jitter", "jitter")
	}
}

func (c *checker) maxAge() {
	p := c.p
	if c.failed["max_age"] || c.failed["retire"] || find(c.root, "max_age") == resolve(c.root) { // not given
		return
	}
	// Jitter counts: it is taken off before the promise, and a policy whose jitter ate up the rest would always be due. A soak
	// does not: an old key is off in it, and holds up no rotation.
	lead := Duration(p.Cycle(false)) + p.Jitter
	of := fmt.Sprintf("overlap %s + 1h", p.Retire.Overlap)
	if p.Retire.RequireIdle > p.Retire.Overlap {
		of = fmt.Sprintf("require_idle %s + 1h", p.Retire.RequireIdle)
	}
	if p.Canary.Wanted() {
		of += fmt.Sprintf(" + canary %s", p.Canary.For)
	}
	if p.Jitter > 0 {
		of += fmt.Sprintf(" + jitter %s", p.Jitter)
	}
	least := Duration(c.minInterval())
	if need := lead + least; p.MaxAge < need {
		c.at(fmt.Sprintf("max_age %s leaves no time: a rotation begins %s before it (%s) and at most every %s",
			p.MaxAge, lead, of, least), fmt.Sprintf("at least %s (%s + %s)", need, of, least), "max_age")
	}
}

// expiresAfter refuses an expiry that a key could reach while consumers read it, though every rotation is in time.
func (c *checker) expiresAfter() {
	p := c.p
	if c.failed["key"] || c.failed["retire"] || c.failed["max_age"] || find(c.root, "key", "expires_after") == find(c.root, "key") { // not given
		return
	}
	need, of := p.keyLasts()
	if need > 0 && p.Key.ExpiresAfter < need {
		c.at(fmt.Sprintf("key.expires_after %s is shorter than a key is needed (%s)", p.Key.ExpiresAfter, of), "at least "+need.String(), "key", "expires_after")
	}
}

func (c *checker) minInterval() time.Duration {
	if c.options.MinInterval > 0 {
		return c.options.MinInterval
	}
	return defaultMinInterval
}

// compile is compile with a cache: many policies share few schedules, and fewer zones.
func (l *loader) compile(schedule, timezone string) (*timetable, error) {
	z, err := l.zones.get(timezone, func() (*zone, error) { return openZone(timezone) })
	if err != nil {
		return nil, err
	}
	return l.timetables.get([2]string{schedule, timezone}, func() (*timetable, error) { return compile(schedule, z) })
}

// memo computes a value for a key once and is safe for concurrent use.
type memo[K comparable, V any] struct {
	once sync.Map // K → func() (V, error)
}

func (m *memo[K, V]) get(key K, compute func() (V, error)) (V, error) {
	once, ok := m.once.Load(key)
	if !ok {
		once, _ = m.once.LoadOrStore(key, sync.OnceValues(compute))
	}
	return once.(func() (V, error))()
}

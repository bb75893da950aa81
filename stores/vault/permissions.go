package vault

import (
	"fmt"
	"slices"
	"strings"

	"rotator/stores"
)

var _ stores.Permissions = Options{}

// sessionRights are those of every login. Vault's default policy grants them, but a login may be without that one.
var sessionRights = []right{
	{"auth/token/lookup-self", []string{"read"}, "How long the login lives, and whether a denied call is the login's fault. Vault's default policy grants these three too."},
	{"auth/token/renew-self", []string{"update"}, "Without it the login ends with its first time to live."},
	{"sys/capabilities-self", []string{"update"}, "Only for `rotator check`."},
}

// Permissions implements stores.Permissions: one policy for a login of this store. Only Mount, KVVersion, StagingPrefix
// and Namespace count; a KVVersion of 0 is taken for 2.
func (o Options) Permissions(targets []stores.Target) ([]stores.Document, error) {
	return o.permissions(targets, engine.rights, sessionRights)
}

// ReadPermissions implements stores.Permissions: a policy that lets the login read the targets and live on.
func (o Options) ReadPermissions(targets []stores.Target) ([]stores.Document, error) {
	reads := func(e engine, target, staged string) []right {
		of := e.rights(target, staged)[0]
		return []right{{of.path, []string{"read"}, "It is read and compared."}}
	}
	return o.permissions(targets, reads, sessionRights[:2])
}

// permissions writes a policy of the rights at each target, as paths of the API, and those beside.
func (o Options) permissions(targets []stores.Target, of func(e engine, target, staged string) []right, beside []right) ([]stores.Document, error) {
	s := &Store{mount: o.Mount, staging: o.StagingPrefix}
	if s.mount == "" {
		s.mount = "secret"
	}
	var e engine = kv2{mount: s.mount}
	about := []string{"Vault policy: `vault policy write rotator FILE`, and give it to the login."}
	switch o.KVVersion {
	case 1:
		e = kv1{mount: s.mount}
	case 0:
		about = append(about, "It is for version 2 of KV at "+s.mount+"/; say kv_version: 1 in the configuration if it is the other.")
	}
	if o.Namespace != "" {
		about = append(about, "It belongs into the namespace "+o.Namespace+".")
	}
	var rights []right
	for _, path := range stores.Paths(targets) {
		staged, err := s.stagedPath(path, "*")
		if err == nil {
			err = checkLiteral(s.mount + "/" + s.staging + "/" + path)
		}
		if err != nil {
			return nil, fmt.Errorf("vault policy for %s: %w", path, err)
		}
		rights = append(rights, of(e, path, staged)...)
	}
	return []stores.Document{{Format: "hcl", About: about, Text: hcl(append(rights, beside...))}}, nil
}

// checkLiteral refuses a path that a policy would take for a pattern, and so grant more than was meant: there is no way
// to quote one. (https://developer.hashicorp.com/vault/docs/concepts/policies#policy-syntax)
func checkLiteral(path string) error {
	pattern := strings.HasSuffix(path, "*") || slices.Contains(strings.Split(path, "/"), "+")
	for _, template := range []string{"{{", "}}", "${"} {
		pattern = pattern || strings.Contains(path, template)
	}
	if pattern {
		return fmt.Errorf("%w: a Vault policy takes * at the end, + between slashes, {{, }} and ${ for patterns", stores.ErrInvalid)
	}
	return nil
}

// hcl writes rights as a policy.
func hcl(rights []right) string {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	var b strings.Builder
	for i, r := range rights {
		if i > 0 {
			b.WriteString("\n")
		}
		var quoted []string
		for _, c := range r.capabilities {
			quoted = append(quoted, quote(c))
		}
		fmt.Fprintf(&b, "# %s\npath %s {\n  capabilities = [%s]\n}\n", r.why, quote(r.path), strings.Join(quoted, ", "))
	}
	return b.String()
}

package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"rotator/internal/pgaddress"
	"rotator/internal/transport"
	"rotator/policies"
)

// check reports what only the whole shows.
func (d *decoder) check(c *Config, root *yaml.Node) {
	at := func(path ...string) func(what, want string) {
		return func(what, want string) { d.fail(find(root, path...), what, want) }
	}
	if c.Mode != Rotate && c.Mode != Observe {
		at("mode")("mode is neither rotate nor observe", "mode: rotate or mode: observe")
	}
	local := true
	for _, u := range []struct{ key, address string }{{"management_url", c.XAI.ManagementURL}, {"inference_url", c.XAI.InferenceURL}} {
		if what := insecure(u.address); what != "" {
			at("xai", u.key)("xai."+u.key+" "+what, "https://HOST, or http:// on loopback")
		}
		local = local && loopbackURL(u.address)
	}
	if (c.XAI.TLS.Cert == "") != (c.XAI.TLS.Key == "") {
		at("xai", "tls")("xai.tls has a client certificate or its key without the other", "cert and key")
	}
	if !local {
		for _, l := range []struct {
			key         string
			have, least policies.Duration
		}{{"min_interval", c.Limits.MinInterval, minInterval}, {"quarantine", c.Limits.Quarantine, quarantine}, {"watch", c.Limits.Watch, watch}, {"lease", c.Limits.Lease, leastLease}} {
			if l.have < l.least {
				at("limits", l.key)(fmt.Sprintf("limits.%s is shorter than %s while xAI itself is addressed", l.key, l.least),
					"at least "+l.least.String()+"; shorter only while both xai URLs are loopback")
			}
		}
	}
	if c.Limits.Concurrency > 1024 {
		at("limits", "concurrency")("limits.concurrency is above 1024", "a number from 1 to 1024")
	}
	if c.Listen != "" {
		if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
			at("listen")("listen is no address", "HOST:PORT, such as 127.0.0.1:8420")
		}
	}
	switch t := c.ListenTLS; {
	case (t.Cert == "") != (t.Key == ""):
		at("listen_tls")("listen_tls has a certificate or its key without the other", "cert and key")
	case t.Cert != "" && c.Listen == "":
		at("listen_tls")("listen_tls is given without listen", "listen: HOST:PORT beside it")
	}
	if c.SocketGroup != "" && c.Socket == "" {
		at("socket_group")("socket_group is given without a socket", "socket: PATH beside it")
	}
	if len(c.Socket) > maxSocket {
		at("socket")("the path of the socket is longer than 107 bytes, which the system does not take", "socket: a shorter PATH")
	}
	d.checkNotify(c, root)
	if s := c.Audit.Syslog; s != "" && !syslogAddress(s) {
		at("audit", "syslog")("audit.syslog is no address of a syslog server over TLS", "tls://HOST:PORT")
	}
	if t := c.Traces; t != nil && t.Endpoint != "" && insecure(t.Endpoint) != "" {
		at("traces", "endpoint")("traces.endpoint "+insecure(t.Endpoint), "https://HOST:4318, or http:// on loopback")
	}
	for i, f := range c.Freezes {
		if !f.From.Zero() && !f.To.Zero() && f.To.Before(f.From.Moment) {
			at("freezes")(fmt.Sprintf("freezes[%d] ends before it begins", i), "to: the day of from, or a later one; an instant after it")
		}
	}
	d.checkPolicies(c, root)
	d.checkTeams(c, root)
	d.checkStores(c, root)
}

// maxSocket is the longest path of a unix socket, without the byte that ends it: unix(7).
const maxSocket = 107

func (d *decoder) checkTeams(c *Config, root *yaml.Node) {
	first := map[string]string{} // team id → name
	for _, name := range slices.Sorted(maps.Keys(c.Teams)) {
		id := c.Teams[name].ID
		if other, twice := first[id]; twice && id != "" {
			d.fail(find(root, "teams", name, "id"), "teams."+name+" has the same id as teams."+other, "every team once")
		}
		first[id] = name
	}
}

func (d *decoder) checkStores(c *Config, root *yaml.Node) {
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		s := c.Stores[name]
		at := func(what, want string, path ...string) {
			d.fail(find(root, append([]string{"stores", name}, path...)...), "stores."+name+"."+what, want)
		}
		switch {
		case s.Vault != nil:
			checkVault(s.Vault, d.dir, at)
		case s.AWS != nil:
			if e := s.AWS.Endpoint; e != "" && insecure(e) != "" {
				at("endpoint "+insecure(e), "https://HOST, or http:// on loopback", "endpoint")
			}
			checkTags(s.AWS.Tags, at)
		case s.Kubernetes != nil:
			checkKubernetes(s.Kubernetes, d.dir, at)
		case s.File != nil:
			s.File.Dir = absolute(d.dir, s.File.Dir)
			if (len(s.File.Recipients) > 0) == s.File.Identity.IsZero() {
				at("recipients and identity belong together", "both, or neither: what is encrypted must be read back")
			}
			if !c.State.SQLite() && !s.File.Shared {
				at("dir is a folder of one machine, and replicas share the journal", "another store, or shared: true when all of them see the same folder", "dir")
			}
		}
	}
}

// checkTags holds tags to what AWS takes: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Tag.html
func checkTags(tags []AWSTag, at func(what, want string, path ...string)) {
	seen := map[string]bool{}
	for _, tag := range tags {
		switch {
		case seen[tag.Key]:
			at("tags has a key twice", "every key once", "tags")
		case strings.HasPrefix(strings.ToLower(tag.Key), "aws:"):
			at("tags has a key that begins with aws:", "another key: those are AWS's own", "tags")
		case utf8.RuneCountInString(tag.Key) > 128 || utf8.RuneCountInString(tag.Value) > 256:
			at("tags has a key or a value that is too long", "at most 128 characters for a key and 256 for a value", "tags")
		}
		seen[tag.Key] = true
	}
}

// logins: method → the keys of auth that it needs, and that it may have beside mount.
var logins = map[string]struct{ needs, may []string }{
	"token":      {needs: []string{"token"}},
	"approle":    {needs: []string{"role_id"}, may: []string{"secret_id"}},
	"kubernetes": {needs: []string{"role"}, may: []string{"jwt"}},
	"jwt":        {needs: []string{"role", "jwt"}},
}

func checkVault(v *Vault, dir string, at func(what, want string, path ...string)) {
	for _, path := range []*string{&v.TLS.CACert, &v.TLS.ClientCert, &v.TLS.ClientKey} {
		*path = absolute(dir, *path)
	}
	if v.Address != "" && insecure(v.Address) != "" {
		at("address "+insecure(v.Address), "https://HOST:8200, or http:// on loopback", "address")
	}
	for _, r := range v.Redirects {
		if what := insecure(r); what != "" {
			at("redirects has an address that "+what, "https://HOST:8200, or http:// on loopback", "redirects")
		}
	}
	if v.KVVersion > 2 {
		at("kv_version is neither 1 nor 2", "1, 2, or the line left out", "kv_version")
	}
	if (v.TLS.ClientCert == "") != (v.TLS.ClientKey == "") {
		at("tls has a client certificate or its key without the other", "client_cert and client_key", "tls")
	}
	a := v.Auth
	if a.Method == "" {
		return
	}
	login, known := logins[a.Method]
	if !known {
		at("auth.method is not known", "one of "+strings.Join(slices.Sorted(maps.Keys(logins)), ", "), "auth", "method")
		return
	}
	given := map[string]bool{"token": !a.Token.IsZero(), "role_id": !a.RoleID.IsZero(), "secret_id": !a.SecretID.IsZero(),
		"jwt": !a.JWT.IsZero(), "role": a.Role != ""}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		switch needed := slices.Contains(login.needs, key); {
		case needed && !given[key]:
			at("auth."+key+" is missing", "it given: method "+a.Method+" needs it", "auth")
		case given[key] && !needed && !slices.Contains(login.may, key):
			at("auth."+key+" is not used by method "+a.Method, "it left out", "auth", key)
		}
	}
}

// state decodes the journal's address.
func (d *decoder) state(n *yaml.Node, to *State, ref Reference, isRef bool) {
	const want = "sqlite:PATH, postgres://USER@HOST/DATABASE, or a reference such as env:NAME to such an address"
	scheme, rest, _ := strings.Cut(n.Value, ":")
	switch {
	case isRef:
		to.ref = ref
	case scheme == "sqlite" && rest == ":memory:":
		to.text = n.Value
	case scheme == "sqlite" && strings.TrimPrefix(rest, "//") != "":
		to.text = "sqlite:" + absolute(d.dir, strings.TrimPrefix(rest, "//"))
	case scheme == "postgres" || scheme == "postgresql":
		u, err := url.Parse(n.Value)
		if err != nil || u.Host == "" && u.Query().Get("host") == "" {
			d.fail(n, "state is no address of a database", want)
			return
		}
		q := u.Query()
		password, isRef := parseReference(q.Get("password"), d.dir, d.env)
		command, isCommand := parseCommand(q.Get("password"), d.env)
		_, set := u.User.Password()
		if set || len(q["password"]) > 1 || q.Has("password") && !isRef && !isCommand || q.Has("sslpassword") {
			d.fail(n, "state holds a password", "?password=file:PATH, env:NAME, credential:NAME or command:/PATH; or such a reference, but no command, in place of the whole address")
			return
		}
		for _, f := range pgaddress.Check(n.Value) {
			if f.Verdict == pgaddress.Refused {
				d.fail(n, "in state, "+f.String(), "it changed or left out")
			}
		}
		to.text, to.password, to.command = n.Value, password, command
	default:
		d.fail(n, "state is of no known kind", want)
	}
}

// insecure says what is wrong with an address that secrets are sent to, "" when nothing is.
func insecure(address string) string {
	if _, err := transport.Address(address); err != nil {
		return err.Error()
	}
	return ""
}

// loopbackURL reports whether an address is this machine by its own words: no name is looked up.
func loopbackURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && transport.Loopback(u.Hostname())
}

// syslogAddress reports whether an address is tls://HOST:PORT.
func syslogAddress(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "tls" && u.Hostname() != "" && u.Port() != "" && u.Host == strings.TrimPrefix(address, "tls://")
}

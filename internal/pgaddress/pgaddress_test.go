package pgaddress_test

import (
	"strings"
	"testing"

	"rotator/internal/pgaddress"
)

const (
	refused = pgaddress.Refused
	ignored = pgaddress.Ignored
	honored = pgaddress.Honored
	server  = pgaddress.Server
)

// keywords are all of libpq's, of PostgreSQL 18 and before, with a usual value and what becomes of it.
var keywords = []struct {
	name, value string
	want        pgaddress.Verdict
}{
	{"host", "db", honored}, {"hostaddr", "10.0.0.1", refused}, {"port", "5432", honored}, {"dbname", "rotator", honored},
	{"user", "rotator", honored}, {"password", "x", honored}, {"passfile", "/pass", honored}, {"require_auth", "scram-sha-256", honored},
	{"channel_binding", "require", honored}, {"channel_binding", "perhaps", refused}, {"connect_timeout", "3", honored}, {"connect_timeout", "3s", refused},
	{"client_encoding", "UTF8", honored}, {"client_encoding", "LATIN1", ignored}, {"options", "-c geqo=off", server}, {"application_name", "a", server},
	{"fallback_application_name", "a", honored}, {"keepalives", "0", honored}, {"keepalives_idle", "60", honored}, {"keepalives_interval", "10", honored},
	{"keepalives_count", "3", honored}, {"keepalives_count", "-3", refused}, {"tcp_user_timeout", "30000", honored}, {"replication", "database", refused},
	{"replication", "false", honored}, {"gssencmode", "disable", honored}, {"gssencmode", "prefer", ignored}, {"gssencmode", "require", refused},
	{"sslmode", "verify-full", honored}, {"sslmode", "verify_full", refused}, {"requiressl", "1", refused}, {"requiressl", "0", honored},
	{"sslnegotiation", "direct", honored}, {"sslcompression", "0", honored}, {"sslcompression", "1", ignored}, {"sslcert", "/c", honored},
	{"sslkey", "/k", honored}, {"sslkeylogfile", "/log", ignored}, {"sslpassword", "x", honored}, {"sslcertmode", "require", honored},
	{"sslrootcert", "system", honored}, {"sslcrl", "/crl", refused}, {"sslcrl", "", honored}, {"sslcrldir", "/crls", refused}, {"sslsni", "0", honored},
	{"requirepeer", "postgres", refused}, {"ssl_min_protocol_version", "TLSv1.3", honored}, {"ssl_min_protocol_version", "TLSv1.1", ignored},
	{"ssl_min_protocol_version", "1.3", refused}, {"ssl_max_protocol_version", "TLSv1.2", honored}, {"ssl_max_protocol_version", "TLSv1.1", refused},
	{"min_protocol_version", "3.2", honored}, {"max_protocol_version", "latest", honored}, {"krbsrvname", "postgres", ignored}, {"gsslib", "gssapi", ignored},
	{"gssdelegation", "1", ignored}, {"scram_client_key", "x", refused}, {"scram_server_key", "x", refused}, {"service", "s", honored}, {"servicefile", "/s", honored},
	{"target_session_attrs", "read-write", honored}, {"target_session_attrs", "master", refused}, {"load_balance_hosts", "random", honored},
	{"load_balance_hosts", "disable", honored}, {"load_balance_hosts", "yes", refused}, {"oauth_issuer", "x", refused}, {"oauth_client_id", "x", refused},
	{"oauth_client_secret", "x", refused}, {"oauth_scope", "x", refused}, {"authtype", "x", ignored}, {"tty", "x", ignored},
	// What other programs take, and the server's settings.
	{"ssl", "true", honored}, {"ssl", "no", refused}, {"pool_max_conns", "10", ignored}, {"pool_max_conn_lifetime", "1h", ignored},
	{"default_query_exec_mode", "exec", ignored}, {"binary_parameters", "yes", ignored}, {"search_path", "rotator", server}, {"TimeZone", "UTC", server},
	{"statement_timeout", "5s", server}, {"synchronous_commit", "on", server}, {"currentSchema", "x", refused}, {"fsync", "off", refused},
}

// TestEveryKeyword: each parameter of libpq is honored, ignored with a word, or refused with what to do; none is handed to the
// server unseen.
func TestEveryKeyword(t *testing.T) {
	t.Parallel()
	for _, k := range keywords {
		v, why := pgaddress.Judge(k.name, k.value)
		if v != k.want {
			t.Errorf("%s=%s: verdict %d, want %d", k.name, k.value, v, k.want)
		}
		if said := why != ""; said != (k.want == refused || k.want == ignored) {
			t.Errorf("%s=%s: the word is %q", k.name, k.value, why)
		}
		if len(k.value) > 3 && strings.Contains(strings.TrimSuffix(why, "."), "="+k.value+" ") {
			t.Errorf("%s: %q quotes the value", k.name, why)
		}
	}
}

// TestCheck: findings name the parameter, a typing error is met with what was meant, and nothing that may be a part of a
// password is quoted.
func TestCheck(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][]string{
		"postgres://u@h/d": nil,
		"postgres://u@h/d?sslmode=verify-full&password=file:/p%20w&target_session_attrs=read-write&connect_timeout=3": nil,
		"postgres://u@h/d?sslmod=verify-full":                                                {"sslmod is refused", "did you mean sslmode?", "options=-c"},
		"postgres://u@h/d?keepalive_idle=9":                                                  {"did you mean keepalives_idle?"},
		"postgres://u@h/d?gssencmode=prefer":                                                 {"gssencmode is ignored"},
		"postgres://u@h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2": {"above ssl_max_protocol_version"},
		"postgres://u@h/d?options=-c%20geqo=off":                                             {"options is refused", "%3D"},
		"postgres://u@h/d?options=-c%20geqo%3Doff&password=command:/x%20--a=b":               nil,
		"postgres://u@h/d?password=hun&ter2":                                                 {"a parameter is refused: it has no value", "%26"},
		"postgres://u@h/d?password=h&Unter2=x":                                               {"a parameter is refused"},
	} {
		var said []string
		for _, f := range pgaddress.Check(address) {
			said = append(said, f.String())
		}
		text := strings.Join(said, "; ")
		if want == nil && text != "" {
			t.Errorf("%s: %s", address, text)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q does not say %q", address, text, w)
			}
		}
		if strings.Contains(strings.ToLower(text), "ter2") {
			t.Errorf("%s: %q quotes a part of a password", address, text)
		}
	}
}

// TestFallback: a mode that falls back to plain text is refused where the address itself names another machine.
func TestFallback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"postgres://u@db/d?sslmode=prefer": true, "postgres://u@db:1,localhost:2/d?sslmode=allow": true, "postgres:///d?host=/run,db&sslmode=prefer": true,
		"postgres://u@localhost/d?sslmode=prefer": false, "postgres:///d?host=/run&sslmode=allow": false, "postgres://u@[::1]:1/d?sslmode=prefer": false,
		"postgres:///d?sslmode=prefer": false, "postgres://u@db/d?sslmode=disable": false, "postgres://u@db/d?sslmode=require": false, "postgres://u@db/d": false,
	} {
		found := pgaddress.Check(address)
		if got := len(found) == 1 && found[0].Name == "sslmode" && found[0].Verdict == refused; got != want || !got && len(found) > 0 {
			t.Errorf("%s: %v", address, found)
		}
	}
}

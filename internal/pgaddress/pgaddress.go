// Package pgaddress says what becomes of each parameter of a postgres:// address.
//
// The driver knows some of libpq's parameters, and hands every other one to the server, which ends the connection when it is
// no setting of the server's. Here each parameter of libpq has a verdict: it is honored, ignored with a word since nothing is
// lost by that, or refused, where ignoring it would weaken what its author asked for. The source is the list of parameter key words in
// PostgreSQL's documentation, chapter "Database Connection Control Functions", of version 18.
package pgaddress

import (
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rotator/internal/transport"
	"rotator/internal/typo"
)

// Verdict is what becomes of a parameter.
type Verdict int

// The verdicts. Refused is the zero value.
const (
	Refused Verdict = iota
	Ignored         // nothing is done; a warning names it
	Honored         // by the driver, or by package sqldb
	Server          // handed to the server as a setting of the session
)

// rule is what becomes of a parameter, by its value.
type rule struct {
	verdict Verdict
	why     string            // of a parameter that is ignored; what to do about one that is refused
	want    string            // the values that there are, for people
	takes   func(string) bool // whether a value is one of them; nil: any
	except  map[string]rule   // value → what becomes of it instead
}

var (
	driver   = rule{verdict: Honored}
	empty    = rule{verdict: Honored} // an empty value asks for nothing
	noGSS    = rule{verdict: Ignored, why: "logins by GSSAPI are not supported"}
	ownPool  = rule{verdict: Ignored, why: "the number and the age of connections are fixed"}
	ownCache = rule{verdict: Ignored, why: "how statements are sent is fixed, so that poolers work"}
	noCRL    = refused("certificate revocation lists are not checked; leave it out, and use certificates that do not last, or an authority of the server's own in sslrootcert", "")
	noOAuth  = refused("logins by OAuth are not supported; give a token with password=command:/PATH", "")
	inSecret = refused("it is a secret and does not belong in an address; use password=file:PATH", "")
	seconds  = rule{verdict: Honored, want: "a whole number, 0 or more", takes: number}
	protocol = oneOf("3.0", "3.2", "latest")
	lowTLS   = rule{verdict: Ignored, why: "nothing below TLS 1.2 is ever used"}
	tlsVer   = rule{verdict: Honored, want: "TLSv1.2 or TLSv1.3", takes: func(v string) bool { _, ok := tlsVersion(v); return ok },
		except: map[string]rule{"": empty}}
)

func refused(do, but string) rule {
	r := rule{verdict: Refused, why: do, except: map[string]rule{"": empty}}
	if but != "" {
		r.except[but] = driver
	}
	return r
}

func oneOf(values ...string) rule {
	return rule{verdict: Honored, want: "one of " + strings.Join(values, ", "), takes: func(v string) bool { return v == "" || slices.Contains(values, v) }}
}

func number(v string) bool {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
	return err == nil && n >= 0
}

// rules are those of libpq's parameters, and of other programs' that people copy.
var rules = map[string]rule{
	"host": driver, "port": driver, "dbname": driver, "database": driver, "user": driver, "password": driver, "passfile": driver,
	"sslcert": driver, "sslkey": driver, "sslpassword": driver, "sslrootcert": driver, "service": driver, "servicefile": driver,
	"require_auth": driver, "options": {verdict: Server}, "application_name": {verdict: Server}, "fallback_application_name": driver,
	"sslmode": oneOf("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), "ssl": oneOf("true"),
	"sslnegotiation": oneOf("postgres", "direct"), "sslcertmode": oneOf("disable", "allow", "require"), "sslsni": oneOf("0", "1"),
	"channel_binding": oneOf("disable", "prefer", "require"), "min_protocol_version": protocol, "max_protocol_version": protocol,
	"target_session_attrs": oneOf("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
	"load_balance_hosts":   oneOf("disable", "random"),
	"connect_timeout":      seconds, "keepalives": seconds, "keepalives_idle": seconds, "keepalives_interval": seconds, "keepalives_count": seconds,
	"tcp_user_timeout": seconds, "ssl_max_protocol_version": tlsVer,
	"ssl_min_protocol_version": {verdict: Honored, want: tlsVer.want, takes: tlsVer.takes, except: map[string]rule{"": empty, "TLSv1": lowTLS, "TLSv1.1": lowTLS}},

	"hostaddr": refused("write the address as the host; with sslmode=verify-full the server's certificate must name it", ""),
	"gssencmode": {verdict: Refused, why: "encryption by GSSAPI is not supported; use TLS, sslmode=verify-full", want: "disable or prefer",
		except: map[string]rule{"": empty, "disable": driver, "prefer": {verdict: Ignored, why: "encryption by GSSAPI is not supported; sslmode says whether TLS is used"}}},
	"requirepeer": refused("the user who runs the server is not checked; keep the socket in a folder that only that user may write", ""),
	"sslcrl":      noCRL, "sslcrldir": noCRL, "requiressl": refused("say sslmode=require, or better sslmode=verify-full", "0"),
	"replication": refused("a journal is not kept over a replication connection", "false"),
	"krbsrvname":  noGSS, "krbspn": noGSS, "gsslib": noGSS, "gssdelegation": noGSS,
	"scram_client_key": inSecret, "scram_server_key": inSecret,
	"oauth_issuer": noOAuth, "oauth_client_id": noOAuth, "oauth_client_secret": noOAuth, "oauth_scope": noOAuth,
	"client_encoding": {verdict: Ignored, why: "text is always sent as UTF-8", except: map[string]rule{"UTF8": driver, "utf8": driver, "utf-8": driver, "UTF-8": driver}},
	"sslcompression":  {verdict: Ignored, why: "TLS is never compressed", except: map[string]rule{"0": driver}},
	"sslkeylogfile":   {verdict: Ignored, why: "the keys of connections are not written anywhere"},
	"authtype":        {verdict: Ignored, why: "it has no meaning any more"}, "tty": {verdict: Ignored, why: "it has no meaning any more"},

	"pool_max_conns": ownPool, "pool_min_conns": ownPool, "pool_min_idle_conns": ownPool, "pool_max_conn_lifetime": ownPool, "pool_max_conn_lifetime_jitter": ownPool,
	"pool_max_conn_idle_time": ownPool, "pool_health_check_period": ownPool,
	"statement_cache_capacity": ownCache, "description_cache_capacity": ownCache, "default_query_exec_mode": ownCache, "min_read_buffer_size": ownCache,
	"statement_cache_mode": ownCache, "prefer_simple_protocol": ownCache, "binary_parameters": ownCache,
}

// settings are the server's that an address may name. Others are set with options=-c%20NAME%3DVALUE, or for the role.
var settings = []string{
	"client_min_messages", "datestyle", "default_transaction_isolation", "extra_float_digits", "idle_in_transaction_session_timeout", "idle_session_timeout",
	"intervalstyle", "jit", "lock_timeout", "log_min_duration_statement", "role", "search_path", "statement_timeout", "synchronous_commit", "tcp_keepalives_count",
	"tcp_keepalives_idle", "tcp_keepalives_interval", "timezone", "transaction_timeout", "work_mem",
}

// Settings returns the settings of the server that an address may name.
func Settings() []string { return append([]string{"application_name", "options"}, settings...) }

// Judge says what becomes of a parameter. why explains a parameter that is ignored, and what to do about one that is refused; it
// never quotes the value, which may be a part of a password.
func Judge(name, value string) (v Verdict, why string) {
	if slices.Contains(settings, strings.ToLower(name)) {
		return Server, ""
	}
	r, known := rules[name]
	if !known {
		return Refused, "unknown parameter" + meant(name) + "; settings of the server are given with options=-c%20NAME%3DVALUE"
	}
	if by, ok := r.except[value]; ok {
		return by.verdict, by.why
	}
	if r.takes != nil && !r.takes(value) {
		return Refused, "its value must be " + r.want
	}
	return r.verdict, r.why
}

// Finding is a parameter that is not simply honored.
type Finding struct {
	Name    string // "": it is not quoted, since it may be a part of a password
	Verdict Verdict
	Why     string
}

// String says what was found.
func (f Finding) String() string {
	name := "a parameter"
	if f.Name != "" {
		name = "the parameter " + f.Name
	}
	if f.Verdict == Ignored {
		return name + " is ignored: " + f.Why
	}
	return name + " is refused: " + f.Why
}

// nameForm is what is quoted of a name that is not known: too short and too plain for a password.
var nameForm = regexp.MustCompile(`^[a-z_]{1,24}$`)

// Check returns what is refused and what is ignored of an address, by name. An address that cannot be parsed has no findings.
func Check(address string) []Finding {
	_, query, _ := strings.Cut(address, "?")
	query, _, _ = strings.Cut(query, "#")
	found := make(map[string]Finding)
	values := make(map[string]string)
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, whole := strings.Cut(pair, "=")
		name, err := url.PathUnescape(rawName) // a plus is a plus to PostgreSQL
		value, err2 := url.PathUnescape(rawValue)
		if err != nil || err2 != nil {
			return nil
		}
		if !whole {
			found[""] = Finding{"", Refused, "it has no value; a character & in a password is written %26"}
			continue
		}
		values[name] = value
		f := Finding{Name: name}
		f.Verdict, f.Why = Judge(name, value)
		if _, known := rules[name]; !known && !nameForm.MatchString(name) {
			f.Name = ""
		}
		if strings.Contains(rawValue, "=") && name != "password" { // which may be a command with arguments
			f.Verdict, f.Why = Refused, "a character = in its value is written %3D"
		}
		if f.Verdict == Refused || f.Verdict == Ignored {
			found[name] = f
		}
	}
	if fallsBack(address, values["sslmode"], values["host"]) {
		found["sslmode"] = Finding{"sslmode", Refused, Fallback}
	}
	low, _ := tlsVersion(values["ssl_min_protocol_version"])
	if high, _ := tlsVersion(values["ssl_max_protocol_version"]); high != 0 && low > high {
		found["ssl_min_protocol_version"] = Finding{"ssl_min_protocol_version", Refused, "it is above ssl_max_protocol_version"}
	}
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[name])
	}
	return all
}

// Fallback is what is wrong with the sslmodes prefer and allow where the server is not on this machine.
const Fallback = "prefer and allow fall back to a connection in clear, which anyone on the network path can bring about; " +
	"use sslmode=verify-full, or say sslmode=disable where the network protects the connection"

// Local reports whether a host is this machine by its own words: the folder of a socket, or loopback.
func Local(host string) bool { return strings.HasPrefix(host, "/") || transport.Loopback(host) }

// fallsBack reports whether an address names a server that is not on this machine, and a mode that falls back to plain text. A
// host may come from elsewhere: package sqldb looks at that again.
func fallsBack(address, mode, hosts string) bool {
	if mode != "prefer" && mode != "allow" {
		return false
	}
	if u, err := url.Parse(address); hosts == "" && err == nil {
		hosts = u.Host
	}
	return slices.ContainsFunc(strings.Split(hosts, ","), func(host string) bool {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		return host != "" && !Local(strings.Trim(host, "[]"))
	})
}

// meant is a hint at the known name nearest to a mistyped one, "" when none is near.
func meant(typed string) string {
	best, nearest := "", 4
	for _, known := range slices.Sorted(maps.Keys(rules)) {
		if n := typo.Distance(strings.ToLower(typed), known); n < nearest && n <= max(1, len(known)/3) {
			best, nearest = known, n
		}
	}
	for _, known := range settings {
		if n := typo.Distance(strings.ToLower(typed), known); n < nearest && n <= max(1, len(known)/3) {
			best, nearest = known, n
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + best + "?)"
}

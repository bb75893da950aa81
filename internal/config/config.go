// Package config is the daemon's own configuration, rotator.yaml, and references to secrets.
//
// No secret is in the file: where one is needed it says where to read it (see [Reference]). [Load] decodes strictly
// and returns either a whole configuration or every problem at once, each with its line, what is wrong and what would
// be right. A problem never quotes a value that could be a secret someone pasted into the wrong place.
//
// Paths that are not absolute are taken from the folder that the file lies in, so that the commands mean the same place
// wherever they are typed.
package config

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rotator/internal/trust"
	"rotator/policies"
)

// Config is rotator.yaml with every default filled in.
type Config struct {
	// Mode is rotate or observe. In observe mode keys and targets are read, compared and reported, and nothing is changed at xAI
	// or in a store: a cautious beginning. It takes effect at the next reload. Default: rotate.
	Mode Mode `yaml:"mode" jsonschema:"enum=rotate,enum=observe"`
	// State is the journal: sqlite:PATH on a local disk, or postgres://USER@HOST/DATABASE when several replicas share it. A
	// password in it is a reference, `password=file:PATH` among the parameters, or a program that prints it,
	// `password=command:/PATH ARGUMENT…`; or a reference is in place of the whole address. Default:
	// sqlite:/var/lib/rotator/rotator.db.
	State State `yaml:"state"`
	// Policies is the folder of the policies, each file of which ends in .yaml; the folders below it are read too. Or it is a list of
	// folders, each with what its policies may do: without limits, whoever edits policies holds every key. Default: /etc/rotator/policies.
	Policies Policies `yaml:"policies"`
	// Installation names this deployment, such as prod-eu. A journal belongs to one installation; another one only compares keys
	// and targets, until `rotator state claim`. Needed in a container and with PostgreSQL, unless both addresses of xAI are
	// loopback. Default: this machine.
	Installation string `yaml:"installation"`
	// Listen is the address of the page, the API (/api/v1/…), /metrics, /healthz and /readyz, all for reading only, such as
	// 127.0.0.1:8420. There is no login: other machines get /metrics, /healthz and /readyz alone. Default: none is served.
	Listen string `yaml:"listen"`
	// ListenTLS has `listen` served over TLS. Default: it is not.
	ListenTLS ListenTLS `yaml:"listen_tls"`
	// Socket is the unix socket for the commands, open to its owner alone (0600). Orders are recorded with the user at its
	// other end. Default: beside an SQLite journal, PATH.sock; none with PostgreSQL.
	Socket string `yaml:"socket"`
	// SocketGroup is the group, by name or number, that may use the socket too (0660): its members may do what the daemon may.
	// Default: none.
	SocketGroup string `yaml:"socket_group"`
	XAI         XAI    `yaml:"xai"`
	// Teams by the names that policies use.
	Teams map[string]Team `yaml:"teams" jsonschema:"required"`
	// Stores by the names that targets use.
	Stores map[string]Store `yaml:"stores" jsonschema:"required"`
	// Freezes are times in which nothing is changed that can wait. Default: none.
	Freezes []Freeze `yaml:"freezes"`
	// Limits are the daemon's paces. Ones shorter than the defaults are refused unless both addresses of xAI are loopback: they
	// would endanger keys that people use.
	Limits Limits `yaml:"limits"`
	// Notify are the channels that urgent events are sent over, see docs/notifications.md. Default: none but the log.
	Notify []Channel `yaml:"notify"`
	// Audit says how the trail of events is protected.
	Audit Audit `yaml:"audit"`
	// Traces says where OpenTelemetry traces of rotations go. Default: nowhere.
	Traces *Traces `yaml:"traces"`

	// File is where the configuration was read from.
	File string `yaml:"-"`
	// Digest changes with every change of the file.
	Digest [sha256.Size]byte `yaml:"-"`

	guard trust.Guard
}

// Mode says what the daemon may do.
type Mode string

// The modes.
const (
	Rotate  Mode = "rotate"
	Observe Mode = "observe"
)

// XAI says where xAI's two APIs are.
type XAI struct {
	// ManagementURL is the address of the Management API; http only on loopback. Default: https://management-api.x.ai.
	ManagementURL string `yaml:"management_url"`
	// InferenceURL is the address of the API that keys are for; a regional host may be here. Default: https://api.x.ai.
	InferenceURL string `yaml:"inference_url"`
	// TLS is for organizations whose keys work with a client certificate only; its URLs are then https://mtls.api.x.ai and alike.
	TLS XAITLS `yaml:"tls"`
}

// XAITLS are files for the connections to xAI. They are read again when they change.
type XAITLS struct {
	// Cert is a file with the client certificate that xAI asks for, its chain included. Default: none is shown.
	Cert string `yaml:"cert"`
	// Key is the file with its key; required with cert.
	Key string `yaml:"key"`
	// CA is a file with the authorities that xAI's certificate may be of, such as a proxy's. Default: the system's.
	CA string `yaml:"ca"`
}

// ListenTLS are files for the listener. They are read again when they change.
type ListenTLS struct {
	// Cert is a file with the certificate that is shown, its chain included; required with key.
	Cert string `yaml:"cert"`
	// Key is the file with its key; required with cert.
	Key string `yaml:"key"`
}

// Loopback reports whether both APIs are on this machine: xAI is simulated.
func (x XAI) Loopback() bool { return loopbackURL(x.ManagementURL) && loopbackURL(x.InferenceURL) }

// Team is one team of xAI.
type Team struct {
	// ManagementKey is a reference to the key that speaks for the team. Default: env:XAI_MANAGEMENT_KEY, or XAI_MANAGEMENT_API_KEY when that is not set.
	ManagementKey Reference `yaml:"management_key"`
	// ID of the team. Default: asked of xAI. A management key of an organization does not say, so it must be given.
	ID string `yaml:"id"`
}

// Freeze is a time in which no rotation begins, and no key is disabled or deleted. Consumers that fail, a key that expires,
// and a compromised key win over it.
type Freeze struct {
	// From is its first day, such as 2026-12-18, in each policy's own timezone; or an instant such as 2026-12-18T17:00:00Z.
	From Moment `yaml:"from" jsonschema:"required"`
	// To is its last day, which counts; or an instant.
	To Moment `yaml:"to" jsonschema:"required"`
	// Why is shown beside what waits.
	Why string `yaml:"why" jsonschema:"required"`
	// Labels pick the policies that it is for: those that have all of them. Default: every policy.
	Labels Pairs `yaml:"labels"`
	// Hard: max_age does not win over it. Default: false.
	Hard bool `yaml:"hard"`
}

// Moment is a day, or an instant.
type Moment struct{ policies.Moment }

// Frozen returns the freezes.
func (c *Config) Frozen() []policies.Freeze {
	all := make([]policies.Freeze, len(c.Freezes))
	for i, f := range c.Freezes {
		all[i] = policies.Freeze{From: f.From.Moment, To: f.To.Moment, Why: f.Why, Labels: f.Labels, Hard: f.Hard}
	}
	return all
}

// Limits are the daemon's paces.
type Limits struct {
	// MinInterval is the shortest interval between two rotations of a policy. Default: 1h.
	MinInterval policies.Duration `yaml:"min_interval"`
	// Quarantine is how long a key of a lost create may still appear. Default: 10m.
	Quarantine policies.Duration `yaml:"quarantine"`
	// Watch is the time between two looks at targets and keys. Default: 15m.
	Watch policies.Duration `yaml:"watch"`
	// Concurrency is how many policies are acted for at once. A wait takes no place, and a call gives its own up after 2
	// seconds. One team takes at most three quarters of them, and one store seven eighths, where there are several.
	// Default: 16.
	Concurrency int `yaml:"concurrency"`
	// Lease, for PostgreSQL only, is how long a replica that is gone keeps others from its policies; at least 5s. Default: 15s.
	Lease policies.Duration `yaml:"lease"`
}

// Audit says how the trail of events is protected.
type Audit struct {
	// SealKey is a reference to a secret of at least 16 bytes, which is not in the journal: checkpoints of the audit trail are signed
	// with a key that is made from it. Without it, no one finds that someone edited the journal and made every checkpoint again.
	// Default: checkpoints are not signed.
	SealKey Reference `yaml:"seal_key"`
	// File gets every event as a line of JSON, at least once and in order; one replica at a time writes. It is opened again for each
	// write, so it may be rotated. Default: none.
	File string `yaml:"file"`
	// Syslog gets every event as RFC 5424 over TLS, tls://HOST:PORT. Default: none.
	Syslog string `yaml:"syslog"`
	// SyslogCA is a file with the authorities that the server's certificate may be of. Default: the system's.
	SyslogCA string `yaml:"syslog_ca"`
}

// Traces is an OpenTelemetry collector.
type Traces struct {
	// Endpoint is the base address of a collector that speaks OTLP over HTTP, such as https://collector.example:4318; http
	// only on loopback. Spans are posted to /v1/traces below it.
	Endpoint string `yaml:"endpoint" jsonschema:"required"`
	// Headers of every request, by name: a reference to the value of each, which is read again each time.
	Headers map[string]Reference `yaml:"headers"`
}

// Env is the environment that references and the search for the file look at.
type Env struct {
	// Lookup returns a variable; nil is the process's environment.
	Lookup func(name string) (value string, set bool)
	// Guard says whose files are read and whose programs are run. The zero value: those of root and of this process's user.
	Guard trust.Guard
}

// Get returns a variable, "" when it is not set.
func (e Env) Get(name string) string {
	v, _ := e.lookup(name)
	return v
}

func (e Env) lookup(name string) (string, bool) {
	if e.Lookup == nil {
		return os.LookupEnv(name)
	}
	return e.Lookup(name)
}

// Find returns the file to load: flag, else $ROTATOR_CONFIG, else /etc/rotator/rotator.yaml. The working directory is never
// looked at: it may be another user's, whose file would say which programs run and where management keys go.
func Find(flag string, env Env) string {
	return cmp.Or(flag, env.Get("ROTATOR_CONFIG"), "/etc/rotator/rotator.yaml")
}

// The limits of production.
const (
	minInterval = policies.Duration(time.Hour)
	quarantine  = policies.Duration(10 * time.Minute)
	watch       = policies.Duration(15 * time.Minute)
	concurrency = 16
	lease       = policies.Duration(15 * time.Second)
	leastLease  = policies.Duration(5 * time.Second)
)

// defaults fills in what the file may leave out.
func (c *Config) defaults(dir string, env Env) {
	fill := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	if c.Mode == "" {
		c.Mode = Rotate
	}
	if c.State.text == "" && c.State.ref.IsZero() {
		c.State.text = "sqlite:/var/lib/rotator/rotator.db"
	}
	if c.Socket == "" {
		if path := c.State.sqlitePath(); path != "" {
			c.Socket = path + ".sock"
		}
	}
	if len(c.Policies) == 0 {
		c.Policies = Policies{{Dir: "/etc/rotator/policies"}}
	}
	for i := range c.Policies {
		c.Policies[i].Dir = absolute(dir, c.Policies[i].Dir)
	}
	fill(&c.XAI.ManagementURL, "https://management-api.x.ai")
	fill(&c.XAI.InferenceURL, "https://api.x.ai")
	for _, path := range []*string{&c.Socket, &c.XAI.TLS.Cert, &c.XAI.TLS.Key, &c.XAI.TLS.CA, &c.ListenTLS.Cert, &c.ListenTLS.Key, &c.Audit.File, &c.Audit.SyslogCA} {
		*path = absolute(dir, *path)
	}
	for name, t := range c.Teams {
		if t.ManagementKey.IsZero() {
			t.ManagementKey = Reference{kind: "env", name: managementKey, env: env}
			c.Teams[name] = t
		}
	}
	for d, v := range map[*policies.Duration]policies.Duration{
		&c.Limits.MinInterval: minInterval, &c.Limits.Quarantine: quarantine, &c.Limits.Watch: watch, &c.Limits.Lease: lease,
	} {
		if *d == 0 {
			*d = v
		}
	}
	if c.Limits.Concurrency == 0 {
		c.Limits.Concurrency = concurrency
	}
}

// absolute is path as seen from dir, in its shortest form; "" stays "".
func absolute(dir, path string) string {
	switch {
	case path == "":
		return ""
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// PolicyOptions is what policies are checked against under this configuration.
func (c *Config) PolicyOptions() policies.Options {
	o := policies.Options{
		Limits: policies.Limits{MinInterval: c.Limits.MinInterval.Std()},
		Stores: make(map[string]string, len(c.Stores)),
		Teams:  make(map[string]string, len(c.Teams)),
		Guard:  c.guard,
	}
	for name, s := range c.Stores {
		o.Stores[name] = s.Type
	}
	for name := range c.Teams {
		o.Teams[name] = "xai"
	}
	return o
}

// NeedsRestart names the keys whose value in next takes effect only when the daemon is started again.
func (c *Config) NeedsRestart(next *Config) []string {
	collector := func(t *Traces) string {
		if t == nil {
			return ""
		}
		return t.Endpoint + fmt.Sprint(t.Headers) // a map is printed in the order of its keys
	}
	paces := func(l Limits) Limits {
		l.MinInterval = 0 // policies are checked against it at each load
		return l
	}
	var keys []string
	for _, k := range []struct {
		name string
		same bool
	}{
		{"state", c.State.String() == next.State.String()},
		{"installation", c.Installation == next.Installation},
		{"listen", c.Listen == next.Listen},
		{"listen_tls", c.ListenTLS == next.ListenTLS},
		{"socket", c.Socket == next.Socket && c.SocketGroup == next.SocketGroup},
		{"limits", paces(c.Limits) == paces(next.Limits)},
		{"notify", slices.EqualFunc(c.Notify, next.Notify, Channel.same)},
		{"audit", c.Audit.File == next.Audit.File && c.Audit.Syslog == next.Audit.Syslog && c.Audit.SyslogCA == next.Audit.SyslogCA},
		{"traces", collector(c.Traces) == collector(next.Traces)},
	} {
		if !k.same {
			keys = append(keys, k.name)
		}
	}
	return keys
}

package config

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v4"

	"rotator/internal/notify"
	"rotator/policies"
)

// Channel is a way out for urgent events. What it needs depends on its type: webhook (url, secret), slack (url), teams (url),
// pagerduty (key), email (smtp, to) or exec (command).
type Channel struct {
	// Name tells channels apart, in metrics and messages. A channel with a new name begins with the events of the last 24 hours.
	Name string `yaml:"name" jsonschema:"required"`
	// Type is webhook, slack, teams, pagerduty, email or exec.
	Type string `yaml:"type" jsonschema:"required"`
	// URL is where events are posted to; http only on loopback. Where the address itself lets people post, as those of Slack and
	// Teams do, it is a secret: give a reference. Of pagerduty: another address than https://events.pagerduty.com/v2/enqueue.
	URL Value `yaml:"url"`
	// Secret is a reference to what signs the events of a webhook, of at least 16 bytes: `Rotator-Signature: t=<unix>,v1=<hex HMAC-SHA256 of "t.body">`.
	Secret Reference `yaml:"secret"`
	// Key is a reference to the integration key of PagerDuty's Events API v2.
	Key Reference `yaml:"key"`
	// SMTP is a reference to the address of a mail server: smtps://USER:PASSWORD@HOST (TLS), or smtp://USER:PASSWORD@HOST (STARTTLS,
	// which only a server on loopback may lack).
	SMTP Reference `yaml:"smtp"`
	// From is the sender of mail. Default: the user of smtp.
	From string `yaml:"from"`
	// To are the recipients of mail, an address or a list of them; {owner} is replaced by the policy's owner, if that is an address.
	To Addresses `yaml:"to"`
	// Command is a program with its arguments. It gets each event as a line of JSON on its standard input, and what it ends with other
	// than 0 is a failure. Its environment is PATH, HOME and LANG, and NAME=VALUE before the program.
	Command string `yaml:"command"`
	// Match selects events. Default: every urgent event.
	Match Match `yaml:"match"`
	// Every is the least time between two messages of slack, teams and email, but for critical events and full messages; what comes
	// meanwhile goes in the next one. Default: 1m.
	Every policies.Duration `yaml:"every"`
	// Repeat is the time after which a channel reminds of policies that still need someone. Default: no reminders.
	Repeat policies.Duration `yaml:"repeat"`
	// Text shows an event in slack, teams and email, as a template of Go's text/template over the fields of a message: {{.Summary}}.
	Text string `yaml:"text"`

	program *Command
}

// Match says which events a channel gets; different parts narrow.
type Match struct {
	// Severity are severities of events: info, warning, critical.
	Severity []string `yaml:"severity"`
	// Kind are kinds of events.
	Kind []string `yaml:"kind"`
	// Team are teams of policies.
	Team []string `yaml:"team"`
	// Owner are owners of policies.
	Owner []string `yaml:"owner"`
	// Labels that a policy must have.
	Labels Pairs `yaml:"labels"`
}

// Addresses are mail addresses, written as a list or as one.
type Addresses []string

func (d *decoder) addresses(n *yaml.Node, to *Addresses, path string) {
	var list []string
	if v := reflect.ValueOf(&list).Elem(); n.Kind == yaml.SequenceNode {
		d.list(n, v, path)
	} else {
		var one string
		d.scalar(n, reflect.ValueOf(&one).Elem(), path)
		list = []string{one}
	}
	*to = list
}

// channelTypes are the types of channels, what each needs, and what else it takes.
var channelTypes = map[string]struct{ needs, takes []string }{
	"webhook":   {[]string{"url", "secret"}, nil},
	"slack":     {[]string{"url"}, []string{"text"}},
	"teams":     {[]string{"url"}, []string{"text"}},
	"pagerduty": {[]string{"key"}, []string{"url"}},
	"email":     {[]string{"smtp", "to"}, []string{"from", "text"}},
	"exec":      {[]string{"command"}, nil},
}

// everyDefault is the least time between two messages to people.
const everyDefault = policies.Duration(time.Minute)

// checkNotify checks the channels.
func (d *decoder) checkNotify(c *Config, root *yaml.Node) {
	items := find(root, "notify").Content
	for i := range c.Notify {
		n := &c.Notify[i]
		if i < len(items) {
			d.checkChannel(n, resolve(items[i]), slices.ContainsFunc(c.Notify[:i], func(other Channel) bool { return other.Name == n.Name }))
		}
	}
}

func (d *decoder) checkChannel(c *Channel, item *yaml.Node, twice bool) {
	at := func(key, what, want string) { d.fail(find(item, key), "notify "+c.Name+": "+what, want) }
	switch {
	case c.Name != "" && !nameForm.MatchString(c.Name):
		d.fail(find(item, "name"), "the name of a channel is not valid", nameWant)
		return
	case c.Name == notify.LogChannel:
		at("name", "log is the daemon's own log", "another name")
	case twice:
		at("name", "the name is given twice", "a name for each channel")
	}
	if c.Type == "" {
		return
	}
	of, known := channelTypes[c.Type]
	if !known {
		types := []string{"webhook", "slack", "teams", "pagerduty", "email", "exec"}
		at("type", "the type is not known", strings.Join(types, ", ")+meant(c.Type, types))
		return
	}
	given := map[string]bool{
		"url": !c.URL.IsZero(), "secret": !c.Secret.IsZero(), "key": !c.Key.IsZero(), "smtp": !c.SMTP.IsZero(), "from": c.From != "",
		"to": len(c.To) > 0, "command": c.Command != "", "text": c.Text != "",
	}
	for _, key := range []string{"url", "secret", "key", "smtp", "from", "to", "command", "text"} {
		switch needed := slices.Contains(of.needs, key); {
		case needed && !given[key]:
			d.fail(item, "notify "+c.Name+": "+key+" is missing", "it given: type "+c.Type+" needs "+strings.Join(of.needs, " and "))
		case given[key] && !needed && !slices.Contains(of.takes, key):
			at(key, key+" is nothing for type "+c.Type, strings.Join(slices.Concat(of.needs, of.takes), ", "))
		}
	}
	if c.URL.text != "" && insecure(c.URL.text) != "" {
		at("url", "url "+insecure(c.URL.text), "https://HOST/PATH, http:// on loopback only, or env:NAME, file:PATH or credential:NAME when the address is a secret")
	}
	for _, address := range append([]string{c.From}, c.To...) {
		if _, ok := notify.Address(address); address != "" && address != notify.OwnerAddress && !ok {
			at("to", "an address is no mail address", "NAME@HOST, and {owner} in to")
		}
	}
	if c.From == notify.OwnerAddress {
		at("from", "{owner} is no sender", "NAME@HOST")
	}
	for _, s := range c.Match.Severity {
		if !slices.Contains(notify.Severities, notify.Severity(s)) {
			at("match", "a severity is not known", "info, warning or critical")
		}
	}
	for _, kind := range c.Match.Kind {
		if !notify.Known(kind) {
			at("match", "the kind "+kind+" is not sent", "a kind of docs/notifications.md"+meant(kind, notify.Kinds()))
		}
	}
	if c.Text != "" {
		if _, err := notify.NewLine(c.Text); err != nil {
			at("text", "text is no template: "+err.Error(), "a template such as '{{.Severity}} {{.Policy}}: {{.Summary}}'")
		}
	}
	if c.Command != "" {
		program, ok := parseCommand("command:"+c.Command, d.env)
		if !ok {
			at("command", "command is no program", "an absolute PATH, with arguments without spaces; NAME=VALUE may stand before it")
		}
		c.program = program
	}
	switch forPeople := slices.Contains([]string{"slack", "teams", "email"}, c.Type); {
	case forPeople && c.Every == 0:
		c.Every = everyDefault
	case !forPeople && c.Every != 0: // a message is one event: they would fall behind
		at("every", "every is nothing for type "+c.Type, "slack, teams or email, which put several events into one message")
	}
}

// Program is the program of a channel of type exec.
func (c *Channel) Program() *Command { return c.program }

// same reports whether two channels say the same.
func (c Channel) same(other Channel) bool { return c.String() == other.String() }

// String is what the file says, without secrets: references stand for themselves.
func (c Channel) String() string {
	return fmt.Sprint(c.Name, c.Type, c.URL.text, c.URL.ref, c.Secret, c.Key, c.SMTP, c.From, c.To, c.Command, c.Match, c.Every, c.Repeat, c.Text)
}

// Run runs the program with an input, for at most 10 seconds. What it prints is dropped, and stands in no error.
func (c *Command) Run(ctx context.Context, input []byte) error {
	if err := c.check(); err != nil {
		return pathless(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("it took longer than %v", commandLimit))
	defer cancel()
	run := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	run.Stdin, run.Env, run.Dir = strings.NewReader(string(input)), c.environment(), "/"
	run.WaitDelay = time.Second
	// What it started ends with it: the next try would leave one more behind.
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) }
	err := run.Run()
	switch exit := (*exec.ExitError)(nil); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && !exit.Exited():
		return fmt.Errorf("%s was ended by a signal", c.args[0])
	case errors.As(err, &exit):
		return fmt.Errorf("%s ended with %d", c.args[0], exit.ExitCode())
	case err != nil:
		return fmt.Errorf("%s: %w", c.args[0], pathless(err))
	}
	return nil
}

// Ready says why the program would not be run: others may change it, or it is not there.
func (c *Command) Ready() error {
	if err := c.check(); err != nil {
		return fmt.Errorf("%s: %w", c.args[0], pathless(err))
	}
	return nil
}

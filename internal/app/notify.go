package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/notify"
	"rotator/rotation/health"
	"rotator/rotation/journal"
)

// notifier makes what tells people of urgent events.
func (p *Program) notifier(all []notify.Channel) *notify.Notifier {
	return notify.New(notify.Options{
		Journal: p.journal, Source: p.owner, Log: p.log, Observe: p.api.ObserveNotify,
		Channels: all, Trails: trails(p.present().Config), Facts: p.factsOf, Unwell: p.unwell,
	})
}

// channels are the channels that the configuration names.
func channels(c *config.Config, log *slog.Logger) (all []notify.Channel) {
	for i := range c.Notify {
		n := &c.Notify[i]
		all = append(all, notify.Channel{
			Name: n.Name, Sender: sender(n, cmp.Or(c.Installation, "rotator"), log), Every: n.Every.Std(), Repeat: n.Repeat.Std(),
			Match: notify.Match{Severities: severities(n.Match.Severity), Kinds: n.Match.Kind, Teams: n.Match.Team, Owners: n.Match.Owner, Labels: n.Match.Labels},
		})
	}
	return all
}

// withoutPauses are channels of a process that ends soon: what waits for the next message would wait for the next run.
func withoutPauses(all []notify.Channel) []notify.Channel {
	for i := range all {
		all[i].Every = 0
	}
	return all
}

func sender(n *config.Channel, installation string, log *slog.Logger) notify.Sender {
	var line *notify.Line
	if n.Text != "" {
		line, _ = notify.NewLine(n.Text) // the configuration was refused otherwise
	}
	switch n.Type {
	case "webhook":
		return &notify.Webhook{URL: n.URL.Read, Secret: n.Secret.Read}
	case "slack":
		return &notify.Slack{URL: n.URL.Read, Line: line}
	case "teams":
		return &notify.Teams{URL: n.URL.Read, Line: line}
	case "pagerduty":
		return &notify.PagerDuty{Key: n.Key.Read, URL: n.URL.Read, Installation: installation}
	case "email":
		return &notify.Email{SMTP: n.SMTP.Read, From: n.From, To: n.To, Line: line, Log: log.With("channel", n.Name)}
	}
	return &notify.Program{Run: n.Program().Run, Ready: n.Program().Ready}
}

func severities(names []string) (all []notify.Severity) {
	for _, n := range names {
		all = append(all, notify.Severity(n))
	}
	return all
}

// factsOf is what is known of a policy for whoever is told of it: nothing, if it was forgotten.
func (p *Program) factsOf(ctx context.Context, policy string) (notify.Facts, error) {
	rows, err := p.Client().Status(ctx, policy)
	var known *api.Error
	if errors.As(err, &known) && known.Code == api.ExitUsage {
		return notify.Facts{}, nil
	}
	if err != nil || len(rows) == 0 {
		return notify.Facts{}, err
	}
	return facts(rows[0]), nil
}

func facts(r api.StatusRow) notify.Facts {
	or := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return notify.Facts{Team: r.Team, Owner: or(r.Owner), Labels: r.Labels, Health: r.Health, HealthReason: or(r.HealthReason), Remedy: or(r.Remedy)}
}

// unwell are the policies that need someone.
func (p *Program) unwell(ctx context.Context) (all []notify.Unwell, err error) {
	rows, err := p.Client().Status(ctx)
	for _, r := range rows {
		if health.Alarming(health.Health(r.Health)) {
			all = append(all, notify.Unwell{Policy: r.Policy, Facts: facts(r)})
		}
	}
	return all, err
}

// NotifyTest is what became of a test message.
type NotifyTest struct {
	Channel string  `json:"channel"`
	Type    string  `json:"type"`
	OK      bool    `json:"ok"`
	Error   *string `json:"error"`
}

// TestNotify sends a test message over each of the channels that are named, over all when none is. The error tells of a name that
// no channel has, or that there is no channel at all.
func (s Setup) TestNotify(ctx context.Context, names []string) (rows []NotifyTest, err error) {
	c, err := s.Configuration()
	if err != nil {
		return nil, err
	}
	var known []string
	for _, n := range c.Notify {
		known = append(known, n.Name)
	}
	if len(known) == 0 {
		return nil, &api.Error{Message: "no channel is configured: `notify` in " + c.File + " has none", Code: api.ExitUsage}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, &api.Error{Message: fmt.Sprintf("no channel is named %q; there are %s", name, strings.Join(known, ", ")), Code: api.ExitUsage}
		}
	}
	for i, channel := range channels(c, s.Log) {
		if len(names) > 0 && !slices.Contains(names, channel.Name) {
			continue
		}
		row := NotifyTest{Channel: channel.Name, Type: c.Notify[i].Type, OK: true}
		if err := notify.Test(ctx, channel, owner(), time.Now()); err != nil {
			text := err.Error()
			row.OK, row.Error = false, &text
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// flushTime is how long `run --once` waits at its end for its events to be delivered: longer than the turn of another
// process that ended just now. What is left is sent by the next run.
const flushTime = 40 * time.Second

// telling runs do while events are sent to channels and trails, where there are some, and waits for the last of them.
func (p *Program) telling(ctx context.Context, do func() error) error {
	c := p.present().Config
	names := slices.Collect(maps.Keys(trails(c)))
	for _, n := range c.Notify {
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return do()
	}
	telling, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { _ = p.notifier(withoutPauses(channels(p.present().Config, p.log))).Run(telling) }) // it ends with its context only
	defer working.Wait()
	defer stop()
	err := do()
	flushing, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if flushed := flushed(flushing, p.Client(), p.journal, names); flushed != nil && ctx.Err() == nil {
		p.log.Warn("not all events were sent; the next run sends them", "err", flushed)
	}
	return err
}

// flushed waits until every channel and every trail has every event that there is now.
func flushed(ctx context.Context, c *api.Client, j journal.Journal, names []string) error {
	last, err := c.Present(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, name := range names {
		for {
			text, err := j.Meta(ctx, notify.CursorOf(name))
			if err != nil {
				return err
			}
			if at, _ := strconv.ParseInt(text, 10, 64); at >= last { // no number: nothing was sent yet
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

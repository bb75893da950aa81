package app

import (
	"context"
	"time"

	"rotator/internal/audit"
	"rotator/internal/config"
	"rotator/rotation/journal"
)

const (
	sealPace  = 10 * time.Minute // between two checkpoints, over all replicas
	sealTries = 30 * time.Second // between two looks whether it is this replica's turn
	sealChore = "audit/checkpoint"
)

// sealKey is the key that signs checkpoints, the zero value where the configuration names none.
func sealKey(ctx context.Context, c *config.Config) (audit.Key, error) {
	if c.Audit.SealKey.IsZero() {
		return audit.Key{}, nil
	}
	text, err := c.Audit.SealKey.Read(ctx)
	if err != nil {
		return audit.Key{}, err
	}
	return audit.NewKey([]byte(text.Reveal()))
}

// trails are the places outside the journal that get every event.
func trails(c *config.Config) map[string]func(context.Context, []journal.Event) error {
	to := make(map[string]func(context.Context, []journal.Event) error)
	if c.Audit.File != "" {
		to["audit_file"] = audit.File(c.Audit.File).Append
	}
	if c.Audit.Syslog != "" {
		to["audit_syslog"] = audit.SyslogTarget{Address: c.Audit.Syslog, CA: c.Audit.SyslogCA, Host: hostname()}.Send
	}
	return to
}

// keepSealing makes checkpoints until ctx ends. What fails is tried again, and stops nothing.
func (p *Program) keepSealing(ctx context.Context) {
	tick := time.NewTicker(sealTries)
	defer tick.Stop()
	for failed := false; ; {
		mine, err := p.journal.Chore(ctx, time.Now(), sealChore, sealPace)
		if err == nil && mine {
			err = p.seal(ctx)
		}
		if err != nil && ctx.Err() == nil && !failed {
			p.log.Error("no checkpoint of the audit trail", "err", err)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Program) seal(ctx context.Context) error {
	key, err := sealKey(ctx, p.present().Config)
	if err != nil {
		return err
	}
	_, err = p.journal.Checkpoint(ctx, time.Now(), key.Seal)
	return err
}

// VerifyAudit reads the whole trail of the journal that the configuration names, beside whoever has it. keys are public keys that
// verify checkpoints, besides that of the configuration.
func (s Setup) VerifyAudit(ctx context.Context, keys []string) (report audit.Report, public string, err error) {
	err = s.trail(ctx, func(c *config.Config, j journal.Journal) error {
		key, err := sealKey(ctx, c)
		if err != nil {
			return usage(err, "`audit.seal_key` in "+c.File+" says where the seal key is")
		}
		if public = key.Public(); public != "" {
			keys = append(keys, public)
		}
		report, err = audit.Verify(ctx, j, audit.Options{Keys: keys})
		return err
	})
	return report, public, err
}

// ExportAudit hands every event that the filter takes to write, oldest first.
func (s Setup) ExportAudit(ctx context.Context, f audit.Filter, write func(journal.Event) error) error {
	return s.trail(ctx, func(_ *config.Config, j journal.Journal) error { return audit.Read(ctx, j, f, write) })
}

// trail opens the journal to look only.
func (s Setup) trail(ctx context.Context, do func(*config.Config, journal.Journal) error) error {
	c, err := s.Configuration()
	if err != nil {
		return err
	}
	j, err := s.OpenJournal(ctx, c, true)
	if err != nil {
		return err
	}
	err = do(c, j)
	if closed := j.Close(); err == nil {
		err = closed
	}
	return err
}

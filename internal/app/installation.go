package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"rotator/internal/config"
	"rotator/rotation/journal"
)

// Installation names this deployment. A journal belongs to one installation: a second one that opens it, such as a restored
// copy or a clone of the machine, must not touch the keys of the first. "" is not asked for: xAI is simulated.
//
// Where no name is configured, the machine is the installation. In a container, and with PostgreSQL, host names come and go,
// and the name must be configured.
func (s Setup) Installation(c *config.Config) (string, error) {
	if c.Installation != "" || c.XAI.Loopback() {
		return c.Installation, nil
	}
	missing := func(why string) error {
		return usage(fmt.Errorf("%s: installation is missing: %s", c.File, why),
			"Name this deployment, such as `installation: prod-eu`. Two that run at the same time need two names and two journals.")
	}
	switch {
	case !c.State.SQLite():
		return "", missing("with PostgreSQL, nothing else tells one deployment from another")
	case s.inContainer():
		return "", missing("in a container, nothing else tells one deployment from another")
	}
	id, err := os.ReadFile("/etc/machine-id")
	if text := strings.TrimSpace(string(id)); err == nil && text != "" {
		return text + "/" + hostname(), nil
	}
	return "", missing("this machine has no /etc/machine-id")
}

// inContainer reports whether this process runs in a container.
func (s Setup) inContainer() bool {
	if s.Env.Get("KUBERNETES_SERVICE_HOST") != "" || s.Env.Get("container") != "" {
		return true
	}
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return false
}

// claimed says to the journal which installation opens it, and reports whether it is that one's.
func (s Setup) claimed(ctx context.Context, c *config.Config, j journal.Journal) (bool, error) {
	name, err := s.Installation(c)
	if err != nil {
		return false, err
	}
	claimed, err := j.SetInstallation(ctx, time.Now(), name)
	if err == nil && !claimed {
		s.Log.Warn("the journal belongs to another installation: nothing is changed outside until `rotator state claim`", "installation", name)
	}
	return claimed, err
}

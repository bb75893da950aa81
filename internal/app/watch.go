package app

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"rotator/internal/config"
	"rotator/policies"
	"rotator/rotation/journal"
)

const (
	settleTime = 300 * time.Millisecond // files are read when they did not change for so long
	mostUneasy = 10 * time.Second       // and at the latest so long after the first change: whoever keeps changing one keeps no one's from being read
	rewatch    = 30 * time.Second       // a folder that was replaced is watched again after at most so long
	reread     = 5 * time.Second        // what the journal did not take is read again after so long
)

// watch reloads when the configuration or a policy changes, and on each hangup, until ctx ends; where the journal did not
// take what was read, again and again. Folders are watched rather than files: editors replace files, and Kubernetes swaps
// a symlink beside them.
func (p *Program) watch(ctx context.Context, hangup <-chan os.Signal) {
	var changes <-chan fsnotify.Event
	var overflows <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		p.log.Warn("changes of files are not seen; send SIGHUP after each", "err", err)
	} else {
		changes, overflows = watcher.Events, watcher.Errors
		defer func() { _ = watcher.Close() }() // nothing is lost with it
	}
	again := time.NewTicker(rewatch)
	defer again.Stop()
	settled := time.NewTimer(time.Hour)
	defer settled.Stop()
	settled.Stop()
	p.follow(watcher)
	var first time.Time // of the changes that were not read yet
	changed := func() {
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		settled.Reset(settles(first, now))
	}
	for how := (refreshing{}); ; {
		select {
		case e := <-changes:
			if concerns(p.present().Config, p.policyFolders(), e) {
				changed()
			}
			continue
		case <-overflows: //nolint:errcheck // some change was not told, whatever the error
			changed()
			continue
		case <-again.C:
			p.follow(watcher)
			if !p.isUnsettled() && !p.isForgotten(ctx) {
				continue
			}
			how.quiet = true
		case <-settled.C:
			how.by = cmp.Or(how.by, "a file changed")
		case <-hangup:
			p.log.Info("SIGHUP: reading configuration, policies and secrets")
			how.fresh, how.aloud, how.by = true, true, "SIGHUP"
		case <-ctx.Done():
			return
		}
		first = time.Time{}
		err := p.refresh(ctx, how) // told already
		p.follow(watcher)
		how.aloud, how.quiet = false, false
		if err != nil && !errors.As(err, new(policies.Problems)) {
			settled.Reset(reread) // the files are not at fault, and may not change for months
			continue
		}
		how.fresh, how.by = false, ""
	}
}

// settles is how long to wait for more changes after one, when the first that was not read yet was at first.
func settles(first, now time.Time) time.Duration {
	return max(0, min(settleTime, first.Add(mostUneasy).Sub(now)))
}

// follow watches the folders of the present configuration. Watching one again is nothing new.
func (p *Program) follow(w *fsnotify.Watcher) {
	if w == nil {
		return
	}
	c := p.present().Config
	dirs := append([]string{filepath.Dir(c.File)}, p.policyFolders()...)
	for _, dir := range c.Policies.Dirs() {
		dirs = append(dirs, dir, filepath.Dir(dir))
	}
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			p.log.Debug("a folder is not watched", "folder", dir, "err", err)
		}
	}
}

// policyFolders are the folders that policies were last read from.
func (p *Program) policyFolders() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read.Folders
}

// isUnsettled reports whether files are read again though they do not change: a store that could not be made may be made now,
// and a policy that another replica still read may be gone.
func (p *Program) isUnsettled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unsettled
}

// isForgotten reports whether another replica removed a policy that is in the files here: it did not see this one for a while.
func (p *Program) isForgotten(ctx context.Context) bool {
	v := p.present()
	if v.Config.State.SQLite() {
		return false
	}
	gone, err := p.journal.Vanished(ctx)
	if err != nil {
		p.log.Debug("removed policies not read", "err", err)
	}
	return slices.ContainsFunc(gone, func(s journal.Spec) bool { return v.Policies[s.Name] != nil })
}

// concerns reports whether what changed may be the configuration or a policy, or who may read it. folders are those that
// policies were read from; one that is new is reported by the folder that it lies in.
func concerns(c *config.Config, folders []string, e fsnotify.Event) bool {
	name, dir := filepath.Base(e.Name), filepath.Dir(e.Name)
	of := c.Policies.Dirs()
	switch {
	case name == "..data", slices.Contains(of, e.Name), slices.Contains(folders, e.Name):
		return true
	case slices.Contains(of, dir) || slices.Contains(folders, dir):
		ext := filepath.Ext(name)
		return ext == ".yaml" || ext == ".yml" || e.Has(fsnotify.Create) && isFolder(e.Name)
	}
	return filepath.Clean(e.Name) == filepath.Clean(c.File)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

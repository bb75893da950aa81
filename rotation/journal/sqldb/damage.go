package sqldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrDamaged means that the journal's file is not what was written. A disk failed, or someone else wrote into it.
var ErrDamaged = errors.New("the file is no journal, or a damaged one")

// checkedWhole is the size in bytes up to which a file is looked through when it is opened to write: about a second. In a
// larger one damage is met where it lies.
const checkedWhole = 256 << 20

// whole looks through the file before anything relies on it. Without it a process would be started again and again, each time
// well until it comes to the damage.
func (e *sqliteDB) whole(ctx context.Context, s *session) error {
	if e.path == "" { // in memory
		return nil
	}
	if info, err := os.Stat(e.path); err != nil || info.Size() > checkedWhole {
		return err
	}
	var found string
	if _, err := one(ctx, s, []any{&found}, "PRAGMA quick_check(1)"); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, e.path, strings.Join(strings.Fields(found), " "))
	}
	return nil
}

// sound refuses to go on once damage was met: the tables that can be read may lack what was in the others, and a policy
// whose rows cannot be read would silently rest.
func (e *sqliteDB) sound() error {
	if e.damaged.Load() {
		return fmt.Errorf("%w: %s; stop this process, and restore a backup", ErrDamaged, e.path)
	}
	return nil
}

// noted is err, and remembers that it reports damage.
func (e *sqliteDB) noted(err error) error {
	if errors.Is(err, ErrDamaged) {
		e.damaged.Store(true)
	}
	return err
}

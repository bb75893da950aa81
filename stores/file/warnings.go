package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"rotator/stores"
)

// Warnings implements stores.Warner: the extended attributes of a target's file that the next one will not have. It finds
// out with an empty file that has no name, so that nothing is left even by a crash.
func (s *Store) Warnings(ctx context.Context, targets []stores.Target) (all []stores.Warning, err error) {
	var unknown []error
	for _, fields := range stores.Together(targets, stores.ByPath) {
		lost, err := s.lost(ctx, fields[0])
		if err != nil {
			unknown = append(unknown, wrap(err, "look at", fields[0]))
		}
		if len(lost) > 0 {
			all = append(all, stores.Warning{Targets: fields,
				Text: "a file that replaces this one does not get its attributes " + quoted(lost),
				Do:   "If a consumer needs them, set them again after each rotation, or let the daemon's user set them here."})
		}
	}
	return all, errors.Join(unknown...)
}

// maxNames bounds how many attributes a warning names.
const maxNames = 5

func quoted(names []string) string {
	var all []string
	for _, name := range names[:min(maxNames, len(names))] {
		all = append(all, fmt.Sprintf("%+q", name)) // a name may hold anything
	}
	text := strings.Join(all, ", ")
	if more := len(names) - maxNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// lost are the names of the attributes that a new file would not have. A file without attributes is only looked at.
func (s *Store) lost(ctx context.Context, t stores.Target) (names []string, err error) {
	err = s.look(ctx, t, func(p place, root folder) error {
		dir, err := root.walk(p.folders, mustExist)
		if err != nil {
			return err
		}
		defer dir.close()
		seen, err := dir.read(p.name, maxSize)
		if err != nil || len(seen.access.attributes)+len(seen.access.others) == 0 {
			return err
		}
		names, err = dir.probeAttributes(seen.access)
		return err
	})
	if errors.Is(err, stores.ErrNotFound) {
		return nil, nil
	}
	return names, err
}

// probeAttributes gives the attributes to a file without a name, which is gone when it is closed, and says what it does not
// have then. Where there are no such files only those are named that are never kept.
func (f folder) probeAttributes(a access) (lost []string, err error) {
	fd, err := unix.Openat(f.fd(), ".", unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOENT) {
		return a.others, nil
	}
	if err != nil {
		return nil, fmt.Errorf("make a file to try attributes: %w", err)
	}
	file := os.NewFile(uintptr(fd), "")
	defer func() { err = errors.Join(err, file.Close()) }()
	return a.attach(file), nil
}

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
// out by making an empty file beside the target, which it removes.
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

// lost are the names of the attributes that a new file would not have.
func (s *Store) lost(ctx context.Context, t stores.Target) (names []string, err error) {
	err = s.change(ctx, t, func(w *work) error {
		dir, err := w.root.walk(w.folders, mustExist)
		if err != nil {
			return err
		}
		defer dir.close()
		seen, err := dir.read(w.name, maxSize)
		if err != nil || len(seen.access.attributes)+len(seen.access.others) == 0 {
			return err
		}
		names, err = dir.probeAttributes(w.temp(), w.access.over(seen.access))
		return err
	})
	if errors.Is(err, stores.ErrNotFound) {
		return nil, nil
	}
	return names, err
}

// probeAttributes gives an empty file its access and attributes, says what it does not have then, and removes it.
func (f folder) probeAttributes(name string, a access) (lost []string, err error) {
	if err := f.remove(name); err != nil { // of a crash
		return nil, err
	}
	file, err := f.openat(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func(file *os.File) { err = errors.Join(err, file.Close(), f.remove(name)) }(file)
	lost = a.attach(file)
	return lost, a.give(file)
}

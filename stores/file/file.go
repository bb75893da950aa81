// Package file keeps keys in files of this machine: the store that needs no server.
//
// A target is the file Dir/Path. Without a field the file holds exactly the key, without a newline; with a field it
// holds a JSON object in which that field alone is replaced, every other byte kept; with a field and the option
// format: dotenv it has lines of NAME=value, of which the one named as the field is replaced. Consumers only read: they find the
// old content or the new one, whole, whenever they look.
//
// # On disk
//
//	Dir/.rotator/                                   0700; nothing in it is for consumers
//	Dir/.rotator/lock                               one byte range a path is locked by who changes it
//	Dir/.rotator/<path>-<field>.<attempt>.staged    a staged value
//	Dir/.rotator/<path>-<field>.former              the two newest former values, a JSON array of base64, the newest first
//	Dir/.rotator/<path>.fence                       how often the path was fenced
//	Dir/.rotator/<path>.tmp                         being written; litter of a crash otherwise
//	Dir/<folder of the path>/.rotator-<path>.tmp    the same, beside the target
//
// where <path> and <field> are hashes, so that names neither clash nor grow too long. A temporary file is removed by the
// next Stage, Promote, Discard or Check of its target. Former values stay until newer ones push them out.
//
// # Writing
//
// The new content is written beside the target: first it gets the owner, group, mode, access control list and SELinux label
// of the old file, and its extended attributes in the user namespace as far as the file system takes them ([Store.Warnings]
// reports the others), then it is filled, synced, renamed over it, and the folder synced. A crash anywhere leaves the old content or the new one; the value that is replaced is kept, synced,
// before. Folders on the way to a new target are made with mode 0755 less the umask: the file itself is what is private.
// Dir has to exist.
//
// Writers of this program lock each other out, also over several processes. Humans and other programs take no lock, so
// what the target holds is compared again immediately before the rename: an edit in the instant between the two system
// calls is lost from the file, and nothing short of everyone's taking the lock could change that.
//
// # What is refused
//
// A symlink, a mount point or ".." below Dir, a target that is no regular file, and one with a second hard link, which
// would keep the old value: [stores.ErrInvalid]. A folder is
// opened name by name from Dir, so that none of this can be slipped in between a look and a use. Dir itself may be
// reached by a symlink.
//
// # Encryption
//
// With recipients and an identity everything the store writes, for consumers and for itself, is an age file. What is
// read may still be plain text: it is encrypted when it is next replaced.
package file

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"filippo.io/age"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/stores"
)

// Options configure a Store.
type Options struct {
	// Dir is the folder that all targets are below. It must exist when a target is used, and it must be on a file system
	// with atomic renames and locks. A mount point itself is a bad choice: without its volume it is an empty store.
	Dir string
	// Recipients are age public keys to which files are encrypted. None: files are plain text.
	Recipients []string
	// Identity returns the text of an age identity file that can decrypt what Recipients encrypts. It is asked whenever
	// something encrypted is read. Required with Recipients, and refused without.
	Identity func(context.Context) (secret.Text, error)
}

// Store keeps keys in files. It holds no state in memory; it is safe for concurrent use, also by several processes.
type Store struct {
	dir        string
	recipients []age.Recipient
	identity   func(context.Context) (secret.Text, error)

	// before, when a test sets it, is called before each step that touches the disk for the target at path. Its error
	// is the step's.
	before func(step, path string) error
}

var (
	_ stores.Store    = (*Store)(nil)
	_ stores.Checker  = (*Store)(nil)
	_ stores.Previous = (*Store)(nil)
	_ stores.Fencer   = (*Store)(nil)
	_ stores.Placer   = (*Store)(nil)
	_ stores.Warner   = (*Store)(nil)
)

// New returns a store below o.Dir. It touches no file; see [Store.Check].
func New(o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, errors.New("a file store needs a folder")
	}
	if (len(o.Recipients) > 0) != (o.Identity != nil) {
		return nil, errors.New("an encrypted file store needs recipients and an identity that reads them back")
	}
	s := &Store{dir: o.Dir, identity: o.Identity}
	for i, text := range o.Recipients {
		r, err := parseRecipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i+1, err)
		}
		s.recipients = append(s.recipients, r)
	}
	return s, nil
}

// Stage implements stores.Store. An empty target can stage, also one whose folder does not exist yet.
func (s *Store) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	err := s.change(ctx, t, func(w *work) error {
		name, err := w.staged(attempt)
		if err != nil {
			return err
		}
		if err := w.storable(value); err != nil {
			return err
		}
		return s.keep(ctx, w, name, []byte(value.Reveal()))
	})
	return wrap(err, "stage", t)
}

// Staged implements stores.Store.
func (s *Store) Staged(ctx context.Context, t stores.Target, attempt string) (secret.Text, error) {
	var value secret.Text
	err := s.look(ctx, t, func(p place, root folder) error {
		name, err := p.staged(attempt)
		if err != nil {
			return err
		}
		text, err := s.kept(ctx, root, name)
		value = secret.New(string(text))
		return err
	})
	return value, wrap(err, "read what is staged at", t)
}

// Current implements stores.Store. One newline at the end of a plain target, which editors add, is no part of the key.
func (s *Store) Current(ctx context.Context, t stores.Target) (secret.Text, error) {
	var value secret.Text
	err := s.look(ctx, t, func(p place, root folder) error {
		dir, err := root.walk(p.folders, mustExist)
		if err != nil {
			return err
		}
		defer dir.close()
		_, value, err = s.read(ctx, dir, p)
		return err
	})
	return value, wrap(err, "read", t)
}

// Previous implements stores.Previous. The two newest former values of a target are kept.
func (s *Store) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (secret.Text, error) {
	var value secret.Text
	err := s.look(ctx, t, func(p place, root folder) error {
		former, err := s.former(ctx, root, p)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(former, func(v []byte) bool { return want.Is(secret.New(string(v))) })
		if i < 0 {
			return stores.ErrNotFound
		}
		value = secret.New(string(former[i]))
		return nil
	})
	return value, wrap(err, "read a former value of", t)
}

// Discard implements stores.Store. What a crash left half-written for the target goes too.
func (s *Store) Discard(ctx context.Context, t stores.Target, attempt string) error {
	err := s.change(ctx, t, func(w *work) error {
		name, err := w.staged(attempt)
		if err != nil {
			return err
		}
		if err := guard.Check(ctx); err != nil {
			return err
		}
		if err := w.state.remove(name); err != nil {
			return err
		}
		return w.state.sync() // also when it was gone: who removed it may have died before this
	})
	return wrap(err, "discard at", t)
}

// Promote implements stores.Store.
func (s *Store) Promote(ctx context.Context, t stores.Target, _ string, value secret.Text, expected secret.Fingerprint) error {
	fences, err := s.fences(ctx, t)
	if err != nil {
		return wrap(err, "promote", t)
	}
	err = s.change(ctx, t, func(w *work) error {
		if err := w.sameFence(fences); err != nil {
			return err
		}
		if err := w.storable(value); err != nil {
			return err
		}
		for range 10 { // an editor that saves again and again must not hold the lock forever
			err := s.promote(ctx, w, value, expected)
			if !errors.Is(err, errChanged) {
				return err
			}
		}
		return errChanged
	})
	return wrap(err, "promote", t)
}

// wrap says what was done where, and gives the system's errors their meaning in the contract.
func wrap(err error, what string, t stores.Target) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, t.Path, classify(err))
}

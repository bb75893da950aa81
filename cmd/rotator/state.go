package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rotator/rotation/journal"
)

func (a *cli) stateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "state",
		Short: "Look after the journal",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the journal, also while the daemon runs",
		Long: `Backup copies an SQLite journal into a file that does not exist yet, or to standard output for "-". The copy holds no
secret. A daemon that begins with it creates and destroys nothing until every target was compared: rotations after the copy
are not in it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.backup(c.Context(), args[0]) },
	})
	c.AddCommand(a.copyCommand(), a.claimCommand())
	return c
}

func (a *cli) backup(ctx context.Context, path string) (err error) {
	c, err := a.setup().Configuration()
	if err != nil {
		return err
	}
	if !c.State.SQLite() {
		return usage(errors.New("only an SQLite journal is backed up by this command"), "Use pg_dump, and set the mark of a restored journal as the documentation says.")
	}
	// Opened to look only: the daemon may have it.
	j, err := a.setup().OpenJournal(ctx, c, true)
	if err != nil {
		return failed(err, "`state` in the configuration says where the journal is; `rotator run` begins one.")
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if path == "-" {
		return a.streamBackup(ctx, j, filepath.Dir(strings.TrimPrefix(c.State.String(), "sqlite:")))
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	if err := j.Backup(ctx, path); err != nil {
		do := "The folder must exist, with enough space, and be on a disk of this machine."
		if errors.Is(err, fs.ErrExist) {
			do = "Give a file that is not there yet: a backup never replaces one."
		}
		return failed(err, do)
	}
	_, err = fmt.Fprintf(a.stdout, "the journal was copied to %s\n", path)
	return err
}

// streamBackup writes the copy to standard output, the one way out of a container. It is made beside the journal first,
// which is where a container can write.
func (a *cli) streamBackup(ctx context.Context, j journal.Journal, beside string) (err error) {
	dir, err := os.MkdirTemp(beside, "backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "rotator.db")
	if err := j.Backup(ctx, path); err != nil {
		return failed(err, "It is made beside the journal first, which takes enough space there.")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// What is open stays readable: however long it is read, and however this process ends, nothing is left behind.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_, err = io.Copy(a.stdout, f)
	return err
}

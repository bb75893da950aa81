package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rotator/internal/api"
)

func (a *cli) identifyCommand() *cobra.Command {
	json := false
	var q api.IdentifyRequest
	c := &cobra.Command{
		Use:   "identify",
		Short: "Show which key a leaked value is, who reads it, and whether it still works",
		Long: `Identify reads a key from standard input, or any text that holds some, such as a line of a log. It never takes one as an
argument, where others could see it. For each key it says which policy and team it belongs to, which targets were seen to
hold it, how old it is, and whether xAI still accepts it, by asking with the key itself. On a terminal nothing is shown of
what you type. Nothing is recorded, and nothing is changed.`,
		Example: `  rotator identify < leaked.txt
  pbpaste | rotator identify
  rotator identify --fingerprint sha256:0123456789abcdef`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // cobra's own refusal would repeat it
				return usage(errors.New("identify takes a key from standard input only"), "An argument is seen by everyone on this machine: have that key replaced.")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.identify(c.Context(), c.InOrStdin(), q, json) },
	}
	c.Flags().StringVar(&q.Fingerprint, "fingerprint", "", "look for the key with this `FINGERPRINT`, as status shows it, and read nothing")
	c.Flags().StringVar(&q.KeyID, "key-id", "", "look for the key with this `ID`, and read nothing")
	c.MarkFlagsMutuallyExclusive("fingerprint", "key-id")
	outputFlag(c, &json)
	return c
}

// mostText bounds what is read, and mostKeys how many keys in it are looked for.
const (
	mostText = 1 << 20
	mostKeys = 100
)

var keysIn = regexp.MustCompile(`xai-[A-Za-z0-9_-]{20,}`)

func (a *cli) identify(ctx context.Context, in io.Reader, q api.IdentifyRequest, json bool) (err error) {
	asked := []api.IdentifyRequest{q}
	if q == (api.IdentifyRequest{}) {
		if asked, err = a.leaked(in); err != nil {
			return err
		}
	}
	l, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, unknown := []api.IdentityRow{}, 0
	for _, q := range asked {
		found, err := l.Identify(ctx, q)
		if err != nil {
			return err
		}
		rows = append(rows, found...)
	}
	if err := a.print(json, rows, func(t *table) {
		t.row("KEY", "POLICY", "TEAM", "STATE", "CREATED", "WORKS", "HELD BY", "DETAIL")
		for _, r := range rows {
			t.row(or(r.KeyID), or(r.Policy), or(r.Team), or(r.State), when(r.Created), r.Works, strings.Join(r.Holders, " "), joined(r.Detail, r.Do))
		}
	}); err != nil {
		return err
	}
	for _, r := range rows {
		if r.KeyID == nil && r.Team == nil {
			unknown++
		}
	}
	if unknown > 0 {
		return failed(fmt.Errorf("%d of %d keys are not known here", unknown, len(rows)), "")
	}
	return nil
}

// leaked reads the keys to look for: all that a text holds, or the whole text.
func (a *cli) leaked(in io.Reader) ([]api.IdentifyRequest, error) {
	text, err := a.readLeaked(in)
	if err != nil {
		return nil, failed(fmt.Errorf("read standard input: %w", err), "")
	}
	values := keysIn.FindAllString(text, -1)
	if len(values) == 0 {
		return nil, usage(errors.New("there is no API key in the text"), "A key begins with xai- and is at least 24 characters long.")
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) > mostKeys {
		return nil, usage(fmt.Errorf("there are %d keys in the text", len(values)), fmt.Sprintf("Look for at most %d at once.", mostKeys))
	}
	asked := make([]api.IdentifyRequest, len(values))
	for i, v := range values {
		asked[i].Value = v
	}
	return asked, nil
}

// readLeaked reads what is piped in, or one line from a terminal without showing it.
func (a *cli) readLeaked(in io.Reader) (string, error) {
	if f, ok := in.(*os.File); ok && terminal(f) {
		fmt.Fprint(a.stderr, "Paste the key, and press Enter: ")
		line, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.stderr)
		return string(line), err
	}
	text, err := io.ReadAll(io.LimitReader(in, mostText+1))
	if err == nil && len(text) > mostText {
		err = errors.New("more than 1 MiB")
	}
	return string(text), err
}

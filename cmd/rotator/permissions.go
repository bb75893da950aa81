package main

import (
	"fmt"
	"strings"

	"rotator/internal/app"
)

// permissions prints the least rights that the configuration and the policies need: of everyone, or of the named store
// alone; in Kubernetes also to restart these workloads. Nothing is called, and no secret is read.
func (a *cli) permissions(asJSON bool, store string, restarts []string) error {
	f, err := a.setup().ReadFiles()
	if err != nil {
		return err
	}
	rows, err := f.Permissions(store, restarts)
	if err != nil {
		return usage(err, "No rights can be written for what is there: fix the policy or the configuration, and try again.")
	}
	if len(rows) == 0 {
		return usage(fmt.Errorf("no policy has a target in a store called %q", store), "`rotator check --permissions` prints the rights in every store.")
	}
	if asJSON {
		return a.print(true, rows, nil)
	}
	for i, r := range rows {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		if len(rows) > 1 || r.Format != "json" { // which has no comments
			fmt.Fprintf(a.stdout, "# %s (%s)\n# %s\n", subject(r), r.Type, strings.Join(r.About, "\n# "))
		}
		fmt.Fprint(a.stdout, r.Document)
	}
	return nil
}

func subject(r app.Rights) string {
	if r.Type == "xai" {
		return r.Store
	}
	return "store " + r.Store
}

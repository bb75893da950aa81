package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and commit are set by the linker for a release: -X main.version=1.2.3 -X main.commit=HASH.
var version, commit string

// programVersion is the release, or else the commit that the binary was built from.
func programVersion() string {
	switch c := programCommit(); {
	case version != "":
		return version
	case c != "":
		return "devel-" + c
	}
	return "devel"
}

// programCommit is the commit that the binary was built from, its first 12 digits, "" where it is not known.
func programCommit() string {
	revision, dirty := commit, ""
	if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "+changes"
			}
		}
	}
	if revision == "" {
		return ""
	}
	return revision[:min(12, len(revision))] + dirty
}

func versionLine() string {
	return fmt.Sprintf("rotator %s (commit %s, %s %s/%s)",
		programVersion(), cmp.Or(programCommit(), "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func (a *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the commit that it was built from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, versionLine())
			return err
		},
	}
}

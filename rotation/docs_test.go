package rotation_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

var update = flag.Bool("update", false, "rewrite docs/states.md and docs/reasons.md")

// TestDocs keeps the pages that are made from the tables in step with them.
func TestDocs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"states.md": statesPage(), "reasons.md": reasonsPage()} {
		path := filepath.Join("..", "docs", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not up to date (%v): run `go generate ./rotation`", path, err)
		}
	}
}

const made = "<!-- Made by `go generate ./rotation`. Do not edit. -->\n"

func statesPage() string {
	var b strings.Builder
	b.WriteString("# The states of a rotation and of a key\n\n" + made + `
Each change outside is written to the journal before it is sent, and its result after. A process that dies in between leaves a
journal from which the next turn finds out what happened. A crash, a retry and a takeover by another replica
run the same code.

` + "```mermaid\nstateDiagram-v2\n  [*] --> planned\n  [*] --> live: keys adopt\n")
	for _, s := range journal.States {
		for _, to := range s.To {
			fmt.Fprintf(&b, "  %s --> %s\n", s.State, to)
		}
		if s.State.Final() {
			fmt.Fprintf(&b, "  %s --> [*]\n", s.State)
		}
	}
	b.WriteString("```\n\n| state | what is durably true | what the next step does, also after a crash |\n|---|---|---|\n")
	for _, s := range journal.States {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.State, cell(s.True), cell(s.Next))
	}
	b.WriteString(`
Before ` + "`promoting`" + ` a rotation can go back without a trace; from there on it goes forward, is rolled back by a human, or is
taken over by a newer rotation. Every rotation in the database has the marks that its state requires, which CHECK
constraints enforce:

| state | must have | must not have |
|---|---|---|
`)
	for _, s := range journal.States {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.State, marks(s.Needs), marks(s.Never))
	}
	b.WriteString("\n## Keys\n\nA key has one row, from before its create until its absence is proved.\n\n```mermaid\nstateDiagram-v2\n  [*] --> creating\n  [*] --> live: adopted\n  [*] --> retiring: adopted\n")
	for _, s := range journal.KeyStates {
		for _, to := range s.To {
			fmt.Fprintf(&b, "  %s --> %s\n", s.State, to)
		}
	}
	b.WriteString("```\n\n| state | what is durably true | moved by | after a crash |\n|---|---|---|---|\n")
	for _, s := range journal.KeyStates {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.State, cell(s.True), cell(s.Moves), cell(s.Crash))
	}
	return b.String()
}

func reasonsPage() string {
	var b strings.Builder
	b.WriteString("# Why a policy waits\n\n" + made + "\n" + `The reasons in ` + "`rotator status`" + `, the API, metrics and notifications. The list is closed. Where a human is asked for, trying again
alone is unlikely to help; it is tried anyway, and the reason clears itself.

| reason | waits for a human | what it means | what to do |
|---|---|---|---|
`)
	for _, r := range reason.All {
		human := "no"
		if r.Human {
			human = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Reason, human, cell(r.Means), cell(r.Do))
	}
	b.WriteString(`
## Health

One word says how a policy is: in ` + "`rotator health`, `rotator status` (`health`, `health_reason` and `remedy` of `-o json`)" + `, on the
page and in the metric ` + "`rotator_policy_health`" + `. The first line that applies counts. The policy's owner stores it with each commit,
and also from when it will be overdue; readers compare that with the clock, so that a dead daemon shows too. People are
notified when a policy becomes ` + "`action_required` or `overdue`" + `, and when it no longer is.

| health | when |
|---|---|
`)
	for _, h := range health.All {
		fmt.Fprintf(&b, "| `%s` | %s |\n", h, healthRows[h])
	}
	return b.String()
}

// healthRows are when a policy is how.
var healthRows = map[health.Health]string{
	health.Overdue: "A key that works is older than `max_age`; a rotation is due, wanted or under way, or the retirement of a key is late, for an hour, " +
		"holds and observe mode not counted; or a compromised key is accepted 15 minutes after its report.",
	health.ActionRequired: "A reason is in force that waits for a human; consumers read a key that is dead; the journal is being compared after a restore; or the " +
		"policy was removed and keys of it are left.",
	health.Degraded: "A step failed three times in a row; a target was not read, or the live key did not prove itself, for two watches (`limits.watch`, 15 " +
		"minutes each); the policy's file has an error and an older version is in force; the policy is held; a rotation or a retirement is paused by " +
		"observe mode; or no key of it is live yet.",
	health.Progressing: "A rotation is due, wanted or under way, or old keys are being retired, in time.",
	health.OK:          "Within two watches the live key proved itself and was read in every target. Nothing is due, or may be done: in observe mode it has the reason `observe_mode`.",
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func marks(list []journal.Mark) string {
	var out []string
	for _, m := range list {
		out = append(out, "`"+string(m)+"`")
	}
	return strings.Join(out, ", ")
}

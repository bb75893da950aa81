package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// lookForRights asks once an hour which models and endpoints xAI offers to a team, and reports, once for each set, what policies
// name and is not among them. A rotation would fail, or a new key would be refused to consumers.
func (l *Lists) lookForRights(ctx context.Context, team Team, name string) error {
	if l.o.Rights == nil {
		return nil
	}
	named := l.o.Rights(name)
	mine, err := l.o.Notes.Chore(ctx, l.o.Now(), "rights/"+name, time.Hour)
	if err != nil || !mine || len(named) == 0 {
		return err
	}
	offered, err := team.About.Offered(ctx, team.ID)
	if err != nil { // the management key may lack the right to ask: rotations do not need it
		l.o.Log.Info("models and endpoints not known", "team", name, "err", err)
		return nil
	}
	missing := offered.Lacks(slices.Sorted(maps.Keys(named)))
	return l.tell(ctx, journal.RightsMissing, name, "rights", missing, map[string]string{"policies": policiesOf(named, missing)})
}

// policiesOf lists the policies that name one of the rights, at most ten by name.
func policiesOf(named map[string][]string, missing []string) string {
	const most = 10
	var all []string
	for _, acl := range missing {
		all = append(all, named[acl]...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	text := strings.Join(all[:min(len(all), most)], " ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

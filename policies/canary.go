package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// canary checks that the canary is one of several targets, and that its time makes sense.
func (c *checker) canary() {
	canary := c.p.Canary
	if !canary.Wanted() || c.failed["canary"] {
		return
	}
	var names []string
	for _, t := range c.p.Targets {
		names = append(names, t.String())
	}
	switch {
	case !slices.Contains(names, canary.Target):
		want := "one of " + strings.Join(names, ", ")
		if near := suggest(canary.Target, names); near != "" {
			want += " (did you mean " + near + "?)"
		}
		c.at("canary.target"+quote(canary.Target)+" is no target of this policy", want, "canary", "target")
	case len(names) < 2:
		c.at("canary: the policy has one target", "two targets or more; without, leave canary out", "canary")
	}
	if least, most := Duration(time.Minute), Duration(7*24*time.Hour); canary.For < least || canary.For > most {
		c.at(fmt.Sprintf("canary.for %s is out of bounds", canary.For), fmt.Sprintf("%s to %s", least, most), "canary", "for")
	}
}

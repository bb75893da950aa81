package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rotator/internal/config"
	"rotator/stores"
	"rotator/stores/kubernetes"
)

// Rights is one document of them, of a store or of a team's management key.
type Rights struct {
	Store    string   `json:"store"` // its name; "team NAME" for a management key
	Type     string   `json:"type"`  // of the store; xai for a management key
	Format   string   `json:"format"`
	About    []string `json:"about"`
	Document string   `json:"document"`
}

// Permissions are the least rights that the configuration and the policies need: of everyone, or in the named store alone; in
// Kubernetes also to restart these workloads, each NAMESPACE/KIND/NAME. Nothing is called, and no secret is read. They are sorted
// by store, and those for xAI come first.
func (f Files) Permissions(only string, restarts []string) (rows []Rights, err error) {
	targets := map[string][]stores.Target{} // store → its targets
	for _, s := range f.Specs() {
		for _, t := range f.Policies[s.Name].Targets {
			if only == "" || only == t.Store {
				targets[t.Store] = append(targets[t.Store], storeTarget(t))
			}
		}
	}
	if only == "" {
		for _, team := range slices.Sorted(maps.Keys(f.Config.Teams)) {
			rows = append(rows, f.managementKey(team, f.Config.Teams[team]))
		}
	}
	var wrong []error
	restartable := len(restarts) == 0
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		of := permissionsOf(f.Config.Stores[name])
		if k, ok := of.(kubernetes.Options); ok {
			k.Restarts = restarts
			of, restartable = k, true
		}
		permissions := of.Permissions
		if f.Config.Mode == config.Observe {
			permissions = of.ReadPermissions
		}
		documents, err := permissions(targets[name])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("store %s: %w", name, err))
		}
		for _, d := range documents {
			if f.Config.Mode == config.Observe {
				d.About = append(slices.Clone(d.About), observeOnly)
			}
			rows = append(rows, Rights{Store: name, Type: f.Config.Stores[name].Type, Format: d.Format, About: d.About, Document: d.Text})
		}
	}
	if f.Config.Mode == config.Observe && len(restarts) > 0 {
		wrong = append(wrong, errors.New("--restart: nothing is restarted in observe mode"))
	} else if !restartable {
		wrong = append(wrong, errors.New("--restart: none of these targets is a Secret of Kubernetes"))
	}
	return rows, errors.Join(wrong...)
}

// keyRight is a right of a management key, with what fails without it.
type keyRight struct{ name, why string }

// rightsUsed of a management key. Only the first is seen in xAI's reference; the others follow its pattern.
var rightsUsed = []keyRight{
	{"ListApiKeys", "nothing is known or rotated: a key is known as ours by its name"},
	{"CreateApiKey", "no successor"},
	{"UpdateApiKey", "an old key is deleted without having been disabled, no rollback enables one, and edits of key come with the next rotation"},
	{"DeleteApiKey", "old keys stay"},
}

// rightsIn are the rights of a management key that a mode needs.
func rightsIn(mode config.Mode) []keyRight {
	if mode == config.Observe {
		return rightsUsed[:1]
	}
	return rightsUsed
}

// managementKey says what a team's management key is for.
func (f Files) managementKey(name string, team config.Team) Rights {
	var acls []string
	idle := false
	for _, p := range f.Policies {
		if p.Team == name {
			acls = append(acls, p.Key.ACLs...)
			idle = idle || p.Retire.RequireIdle > 0
		}
	}
	slices.Sort(acls)
	of := "the team that it is made in"
	if team.ID != "" {
		of = "team " + team.ID
	}
	var b strings.Builder
	fmt.Fprintf(&b, "for    %s\n", of)
	for _, r := range rightsIn(f.Config.Mode) {
		fmt.Fprintf(&b, "right  %-13s without it: %s\n", r.name, r.why)
	}
	about := []string{"Management key for " + team.ManagementKey.String() + ", made in xAI's console. It needs no other team and no right of an organization."}
	if f.Config.Mode == config.Observe {
		b.WriteString("right  to read models and endpoints, for `rotator check` and `rotator acls`; their names are not documented\n")
		return Rights{Store: "team " + name, Type: "xai", Format: "text", Document: b.String(), About: append(about, observeOnly)}
	}
	b.WriteString("right  to read propagation, models and endpoints; their names are not documented\n")
	if idle {
		b.WriteString("right  to read usage, for retire.require_idle; its name is not documented\n")
	}
	for _, acl := range slices.Compact(acls) {
		fmt.Fprintf(&b, "gives  %s\n", acl)
	}
	return Rights{Store: "team " + name, Type: "xai", Format: "text", Document: b.String(),
		About: append(about, "The keys that it makes get what `gives` names, from the policies' key.acls.")}
}

// observeOnly goes with rights that are enough to read.
const observeOnly = "For mode: observe. Print the rights again, and give those, before the mode is rotate."

package xai

import (
	"context"
	"slices"
	"strings"
)

// The ACLs of a key name models and endpoints; * in place of a name is all of them.
const (
	aclModel    = "api-key:model:"
	aclEndpoint = "api-key:endpoint:"
)

// Offered is what xAI lets the keys of a team be allowed to use.
type Offered struct {
	Models    []Model
	Endpoints []string // ACLs, such as api-key:endpoint:chat
}

// Offered asks which models and endpoints the team's keys can be given. It is two calls.
func (m *Management) Offered(ctx context.Context, teamID string) (Offered, error) {
	models, err := m.Models(ctx, teamID)
	if err != nil {
		return Offered{}, err
	}
	endpoints, err := m.Endpoints(ctx, teamID)
	return Offered{models, endpoints}, err
}

// ACLs lists all that an ACL may name, a model's aliases too, without those that end in *.
func (o Offered) ACLs() []string {
	var all []string
	for _, m := range o.Models {
		all = append(all, aclModel+m.Name)
		for _, alias := range m.Aliases {
			all = append(all, aclModel+alias)
		}
	}
	return append(all, slices.DeleteFunc(slices.Clone(o.Endpoints), everything)...)
}

// Lacks returns those of the ACLs that name something which is not offered.
func (o Offered) Lacks(acls []string) []string {
	all := o.ACLs()
	return slices.DeleteFunc(slices.Clone(acls), func(acl string) bool { return everything(acl) || slices.Contains(all, acl) })
}

func everything(acl string) bool { return strings.HasSuffix(acl, ":*") }

// Wide reports whether the key may use every model by every endpoint.
func (k Key) Wide() bool {
	return slices.Contains(k.ACLs, aclModel+"*") && slices.Contains(k.ACLs, aclEndpoint+"*")
}

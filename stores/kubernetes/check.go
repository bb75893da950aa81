package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"rotator/stores"
)

// right is one verb on one named object, in the words of RBAC.
type right struct{ group, resource, name, verb string }

func (r right) String() string {
	resource := r.resource
	if r.group != "" {
		resource += "." + r.group
	}
	return fmt.Sprintf("%q on %s %s", r.verb, resource, r.name)
}

// Check implements stores.Checker. All missing rights are named at once, in the words of a Role. The right to create the
// target is not needed where it is there already.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	p, err := find(t)
	if err == nil {
		err = s.check(ctx, p)
	}
	return about(err, "check", t)
}

func (s *Store) check(ctx context.Context, p place) error {
	var needed []right
	for _, verb := range []string{"get", "create", "patch", "delete"} {
		needed = append(needed, right{"", "secrets", p.beside().name, verb})
	}
	for _, verb := range []string{"patch", "get"} {
		needed = append(needed, right{"", "secrets", p.name, verb})
	}
	missing, err := s.lacking(ctx, p.namespace, needed)
	if err != nil {
		return err
	}
	// What the target itself asks for shows only to those who may read it.
	var held object
	if reading := needed[len(needed)-1]; len(missing) == 0 || missing[len(missing)-1] != reading.String() {
		if held, err = s.read(ctx, p.target()); err != nil {
			return err
		}
		more, err := s.lacking(ctx, p.namespace, held.asks(p.name))
		if err != nil {
			return err
		}
		missing = append(missing, more...)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: missing %s in namespace %s", stores.ErrDenied, strings.Join(missing, ", "), p.namespace)
	}
	if _, err := held.text(p.field); err != nil {
		return err
	}
	if err := held.writable(); err != nil {
		return errors.Join(err, s.restartable(ctx, p, held))
	}
	return errors.Join(s.restartable(ctx, p, held), s.rehearse(ctx, p))
}

// asks returns the rights that depend on what the target is.
func (o object) asks(name string) []right {
	if !o.exists() {
		return []right{{"", "secrets", name, "create"}}
	}
	all, _ := o.workloads() // what is wrong with it, check says
	var needed []right
	for _, w := range all {
		needed = append(needed, right{"apps", w.resource, w.name, "patch"})
	}
	return needed
}

// lacking returns those of the rights that the API server says we do not have. Everyone who is logged in may ask.
func (s *Store) lacking(ctx context.Context, namespace string, needed []right) ([]string, error) {
	var missing []string
	for _, r := range needed {
		review := map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
			"spec": map[string]any{"resourceAttributes": map[string]string{
				"namespace": namespace, "group": r.group, "resource": r.resource, "name": r.name, "verb": r.verb,
			}},
		}
		var answer struct {
			Status *struct {
				Allowed bool `json:"allowed"`
			} `json:"status"`
		}
		err := s.call(ctx, http.MethodPost, "apis/authorization.k8s.io/v1/selfsubjectaccessreviews", nil, plain, review, &answer)
		if err != nil {
			return nil, fmt.Errorf("ask for our rights: %w", err)
		}
		if answer.Status == nil {
			return nil, errUnreadable
		}
		if !answer.Status.Allowed {
			missing = append(missing, r.String())
		}
	}
	return missing, nil
}

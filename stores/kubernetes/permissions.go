package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rotator/stores"
)

var _ stores.Permissions = Options{}

// Permissions implements stores.Permissions: a Role for each namespace with targets, which may restart what o.Restarts
// names there.
func (o Options) Permissions(targets []stores.Target) ([]stores.Document, error) {
	names := map[string][]string{} // namespace → Secrets
	for _, t := range targets {
		p, err := find(t)
		if err != nil {
			return nil, fmt.Errorf("role for %s: %w", t.Path, err)
		}
		names[p.namespace] = append(names[p.namespace], p.name)
	}
	restarts := map[string][]workload{} // namespace → workloads
	for _, text := range o.Restarts {
		namespace, rest, _ := strings.Cut(text, "/")
		w, ok := parseWorkload(rest)
		switch {
		case !ok:
			return nil, fmt.Errorf("role for a restart of %q: want NAMESPACE/deployment/NAME, NAMESPACE/statefulset/NAME or NAMESPACE/daemonset/NAME", text)
		case names[namespace] == nil:
			return nil, fmt.Errorf("role for a restart of %q: no target is in that namespace", text)
		}
		restarts[namespace] = append(restarts[namespace], w)
	}
	var roles []string
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		slices.Sort(names[namespace])
		roles = append(roles, role(namespace, slices.Compact(names[namespace]), restarts[namespace]))
	}
	return []stores.Document{{Format: "yaml", Text: strings.Join(roles, "---\n"), About: []string{
		"A Role for each namespace: `kubectl apply -f FILE`. The Helm chart makes the same ones from `targets`.",
		"A workload that a Secret's annotation " + restartAnnotation + " names is restarted with a right of its own: `--restart NAMESPACE/KIND/NAME`.",
		"Bind each to the service account of the login: `kubectl -n NAMESPACE create rolebinding rotator --role=rotator --serviceaccount=NAMESPACE:NAME`.",
	}}}, nil
}

func role(namespace string, names []string, restarts []workload) string {
	var target, beside []string
	for _, name := range names {
		p := place{namespace: namespace, name: name}
		target, beside = append(target, fmt.Sprintf("%q", name)), append(beside, fmt.Sprintf("%q", p.beside().name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rotator, namespace: %q}
rules:
  # Consumers read these. "create" only while they are not there.
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [%s]
    verbs: [create, get, patch]
  # What is staged, and former values, are in one beside each.
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [%s]
    verbs: [create, delete, get, patch]
`, namespace, strings.Join(target, ", "), strings.Join(beside, ", "))
	for _, w := range restarts {
		fmt.Fprintf(&b, `  - apiGroups: [apps]
    resources: [%s]
    resourceNames: [%q]
    verbs: [patch]
`, w.resource, w.name)
	}
	return b.String()
}

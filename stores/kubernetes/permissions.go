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
	names, err := secretNames(targets)
	if err != nil {
		return nil, err
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
		roles = append(roles, role(namespace, names[namespace], restarts[namespace]))
	}
	return []stores.Document{{Format: "yaml", Text: strings.Join(roles, "---\n"), About: []string{
		"A Role for each namespace: `kubectl apply -f FILE`. The Helm chart makes the same ones from `targets`.",
		"A workload that a Secret's annotation " + restartAnnotation + " names is restarted with a right of its own: `--restart NAMESPACE/KIND/NAME`.",
		"Bind each to the service account of the login: `kubectl -n NAMESPACE create rolebinding rotator --role=rotator --serviceaccount=NAMESPACE:NAME`.",
	}}}, nil
}

// ReadPermissions implements stores.Permissions: a Role for each namespace with targets, to get them.
func (o Options) ReadPermissions(targets []stores.Target) ([]stores.Document, error) {
	names, err := secretNames(targets)
	if err != nil {
		return nil, err
	}
	var roles []string
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		roles = append(roles, roleHead(namespace)+rule("It reads and compares these.", names[namespace], "get"))
	}
	return []stores.Document{{Format: "yaml", Text: strings.Join(roles, "---\n"), About: []string{
		"A Role for each namespace: `kubectl apply -f FILE`. The Helm chart makes the same ones from `targets`.",
		"Bind each to the service account of the login: `kubectl -n NAMESPACE create rolebinding rotator --role=rotator --serviceaccount=NAMESPACE:NAME`.",
	}}}, nil
}

// secretNames are the names of the targets' Secrets by namespace, each once, sorted.
func secretNames(targets []stores.Target) (map[string][]string, error) {
	names := map[string][]string{}
	for _, t := range targets {
		p, err := find(t)
		if err != nil {
			return nil, fmt.Errorf("role for %s: %w", t.Path, err)
		}
		names[p.namespace] = append(names[p.namespace], p.name)
	}
	for namespace, all := range names {
		slices.Sort(all)
		names[namespace] = slices.Compact(all)
	}
	return names, nil
}

func roleHead(namespace string) string {
	return fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: rotator, namespace: %q}
rules:
`, namespace)
}

// rule lets verbs be used on Secrets.
func rule(why string, names []string, verbs string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf(`  # %s
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: [%s]
    verbs: [%s]
`, why, strings.Join(quoted, ", "), verbs)
}

func role(namespace string, names []string, restarts []workload) string {
	beside := make([]string, len(names))
	for i, name := range names {
		beside[i] = place{namespace: namespace, name: name}.beside().name
	}
	var b strings.Builder
	b.WriteString(roleHead(namespace))
	b.WriteString(rule(`Consumers read these. "create" only while they are not there.`, names, "create, get, patch"))
	b.WriteString(rule("What is staged, and former values, are in one beside each.", beside, "create, delete, get, patch"))
	for _, w := range restarts {
		fmt.Fprintf(&b, `  - apiGroups: [apps]
    resources: [%s]
    resourceNames: [%q]
    verbs: [patch]
`, w.resource, w.name)
	}
	return b.String()
}

package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rotator/stores"
)

var _ stores.Permissions = Options{}

// Permissions implements stores.Permissions: a Role for each namespace with targets. Which workloads a Secret restarts
// stands in its annotation, so that rule is there to be filled in.
func (o Options) Permissions(targets []stores.Target) ([]stores.Document, error) {
	names := map[string][]string{} // namespace → Secrets
	for _, t := range targets {
		p, err := find(t)
		if err != nil {
			return nil, fmt.Errorf("role for %s: %w", t.Path, err)
		}
		names[p.namespace] = append(names[p.namespace], p.name)
	}
	var roles []string
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		slices.Sort(names[namespace])
		roles = append(roles, role(namespace, slices.Compact(names[namespace])))
	}
	return []stores.Document{{Format: "yaml", Text: strings.Join(roles, "---\n"), About: []string{
		"A Role for each namespace: `kubectl apply -f FILE`. The Helm chart makes the same ones from `targets`.",
		"Bind each to the service account of the login: `kubectl -n NAMESPACE create rolebinding rotator --role=rotator --serviceaccount=NAMESPACE:NAME`.",
	}}}, nil
}

func role(namespace string, names []string) string {
	var target, beside []string
	for _, name := range names {
		p := place{namespace: namespace, name: name}
		target, beside = append(target, fmt.Sprintf("%q", name)), append(beside, fmt.Sprintf("%q", p.beside().name))
	}
	return fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
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
  # For workloads that a Secret's annotation %s names; statefulsets and daemonsets in the same way:
  # - apiGroups: [apps]
  #   resources: [deployments]
  #   resourceNames: [NAME]
  #   verbs: [patch]
`, namespace, strings.Join(target, ", "), strings.Join(beside, ", "), restartAnnotation)
}

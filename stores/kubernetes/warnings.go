package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rotator/stores"
)

// management says which manager last wrote which fields of an object:
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
type management struct {
	Manager   string          `json:"manager"`
	Operation string          `json:"operation"` // Apply or Update
	Fields    json.RawMessage `json:"fieldsV1"`
}

// marks are the labels and annotations of programs that write Secrets, and write them again.
var marks = []struct{ key, who string }{
	{"reconcile.external-secrets.io/managed", "External Secrets"},
	{"reconcile.external-secrets.io/created-by", "External Secrets"},
	{"reconcile.external-secrets.io/data-hash", "External Secrets"},
	{"sealedsecrets.bitnami.com/managed", "Sealed Secrets"},
	{"sealedsecrets.bitnami.com/patch", "Sealed Secrets"},
	{"argocd.argoproj.io/tracking-id", "Argo CD"},
	{"argocd.argoproj.io/instance", "Argo CD"},
	{"kustomize.toolkit.fluxcd.io/name", "Flux"},
	{"helm.toolkit.fluxcd.io/name", "Flux"},
	{"reflector.v1.k8s.emberstack.com/reflects", "Reflector"},
	{"replicator.v1.mittwald.de/replicate-from", "kubernetes-replicator"},
	{"operator.1password.io/item-path", "the 1Password operator"},
	{"operator.1password.io/item-version", "the 1Password operator"},
	{"secrets.hashicorp.com/vso-ownerRefUID", "Vault Secrets Operator"},
	{"secrets-store.csi.k8s.io/managed", "the Secrets Store CSI driver"},
}

// appliedAnnotation is where `kubectl apply`, and what works like it, keeps what it applied.
const appliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration"

// byHand are the managers of one-time writes by people.
var byHand = []string{"kubectl-create", "kubectl-edit", "kubectl-patch", "kubectl-replace", "kubectl-run", "kubectl-set"}

// consequence is what a second writer leads to.
const consequence = "when it writes the field again, consumers read a deleted key"

// Warnings implements stores.Warner: other writers of a Secret or of our field in it, found in its own metadata. It needs no
// right beyond those of Check.
func (s *Store) Warnings(ctx context.Context, targets []stores.Target) (all []stores.Warning, err error) {
	var unknown []error
	for _, fields := range stores.Together(targets, stores.ByPath) {
		found, err := s.warnings(ctx, fields)
		all = append(all, found...)
		if err != nil {
			unknown = append(unknown, about(err, "look at", fields[0]))
		}
	}
	return all, errors.Join(unknown...)
}

// warnings are those of one Secret.
func (s *Store) warnings(ctx context.Context, fields []stores.Target) (all []stores.Warning, err error) {
	p, err := find(fields[0])
	if err != nil {
		return nil, err
	}
	held, err := s.read(ctx, p.target())
	if err != nil || !held.exists() {
		return nil, err
	}
	for _, who := range held.writers() {
		all = append(all, stores.Warning{Targets: fields, Text: who + ": " + consequence,
			Do: "Leave the field out of what it writes, or point the policy at the source that it reads."})
	}
	for _, t := range fields {
		p, err := find(t)
		if err != nil {
			return all, err
		}
		if who := held.manager(p.field); who != "" {
			all = append(all, stores.Warning{Targets: []stores.Target{t}, Text: who + ": " + consequence,
				Do: "Leave the field out of what it writes."})
		}
		if held.applied(p.field) {
			all = append(all, stores.Warning{Targets: []stores.Target{t},
				Text: fmt.Sprintf("the annotation %s holds a value for data.%s: when that is applied again, consumers read a deleted key", appliedAnnotation, p.field),
				Do:   "Take the field out of the manifest, and the annotation off the Secret."})
		}
	}
	return all, nil
}

// writers says who else writes the Secret, a sentence each.
func (o object) writers() (all []string) {
	for _, owner := range o.Metadata.Owners {
		if !owner.Controller { // one that does is refused
			all = append(all, fmt.Sprintf("%s %s owns the Secret, which goes with it, and may write it",
				shown(owner.Kind, maxField, nil), shown(owner.Name, maxField, nil)))
		}
	}
	var known []string
	for _, m := range marks {
		for _, in := range []struct {
			what string
			keys map[string]string
		}{{"label", o.Metadata.Labels}, {"annotation", o.Metadata.Annotations}} {
			if value, there := in.keys[m.key]; there && value != "false" && !slices.Contains(known, m.who) {
				known = append(known, m.who)
				all = append(all, fmt.Sprintf("%s writes the Secret (%s %s)", m.who, in.what, m.key))
			}
		}
	}
	return all
}

// manager says which other manager wrote the field last, "" when we did or a person.
func (o object) manager(field string) string {
	for _, m := range o.Metadata.ManagedFields {
		if m.Manager == manager || slices.Contains(byHand, m.Manager) || !m.manages(field) {
			continue
		}
		verb := "wrote"
		if m.Operation == "Apply" {
			verb = "applies"
		}
		return fmt.Sprintf("the manager %q %s data.%s (managedFields)", shown(m.Manager, maxField, nil), verb, field)
	}
	return ""
}

// manages reports whether the field of a Secret's data is among those of the manager.
func (m management) manages(field string) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(m.Fields, &fields) != nil {
		return false
	}
	for _, in := range []string{"f:data", "f:stringData"} {
		var keys map[string]json.RawMessage
		if json.Unmarshal(fields[in], &keys) == nil && keys["f:"+field] != nil {
			return true
		}
	}
	return false
}

// applied reports whether the manifest that was applied last has the field. Its values are not looked at.
func (o object) applied(field string) bool {
	var manifest struct {
		Data       map[string]json.RawMessage `json:"data"`
		StringData map[string]json.RawMessage `json:"stringData"`
	}
	text := o.Metadata.Annotations[appliedAnnotation]
	if json.NewDecoder(strings.NewReader(text)).Decode(&manifest) != nil {
		return false
	}
	return manifest.Data[field] != nil || manifest.StringData[field] != nil
}

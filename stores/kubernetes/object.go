package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"rotator/internal/secret"
	"rotator/stores"
)

// suffix makes the name of the Secret beside a target.
const suffix = ".rotator"

// keysAnnotation lists the keys in a Secret, restartAnnotation which workloads roll when one is promoted.
const (
	keysAnnotation    = "rotator/keys"
	restartAnnotation = "rotator/restart"
)

// manager is what the API server records us as, in metadata.managedFields.
const manager = "rotator"

// The forms of names, by k8s.io/apimachinery's validation: DNS labels, DNS subdomains, and keys of a Secret's data.
var (
	labelForm     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	subdomainForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	fieldForm     = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
	attemptForm   = regexp.MustCompile(`^[-a-zA-Z0-9]{1,128}$`)
)

// maxName is the longest name of a Secret and of a key in it.
const maxName = 253

// place is a target, checked.
type place struct{ namespace, name, field string }

// find checks the target.
func find(t stores.Target) (place, error) {
	namespace, name, _ := strings.Cut(t.Path, "/")
	p := place{namespace, name, t.Field}
	if p.field == "" {
		p.field = "value"
	}
	var what string
	switch {
	case !labelForm.MatchString(namespace) || !subdomainForm.MatchString(name):
		what = "the path must be namespace/name, as Kubernetes names them"
	case len(name)+len(suffix) > maxName:
		what = fmt.Sprintf("the name is longer than %d characters, which leaves no room for the Secret beside it", maxName-len(suffix))
	case strings.HasSuffix(name, suffix):
		what = "a name that ends in " + suffix + " is that of a Secret beside a target"
	case !fieldForm.MatchString(p.field) || strings.HasPrefix(p.field, "..") || p.field == "." || len(previousKey(1, p.field)) > maxName:
		what = "the field must be a key of a Secret: letters, digits, '-', '_' and '.'"
	case len(t.Options) > 0:
		what = "targets in Kubernetes take no options"
	default:
		return p, nil
	}
	return place{}, fmt.Errorf("%w: %s", stores.ErrInvalid, what)
}

// target and beside are the two Secrets of a place.
func (p place) target() ref { return ref{p.namespace, p.name} }
func (p place) beside() ref { return ref{p.namespace, p.name + suffix} }

// ref names a Secret.
type ref struct{ namespace, name string }

func (r ref) path() string { return "api/v1/namespaces/" + r.namespace + "/secrets/" + r.name }

// object is a Secret as far as this package looks at it. The zero object is one that does not exist.
type object struct {
	Metadata struct {
		ResourceVersion string            `json:"resourceVersion"`
		Deleted         *string           `json:"deletionTimestamp"`
		Labels          map[string]string `json:"labels"`
		Annotations     map[string]string `json:"annotations"`
		Owners          []struct {
			Kind       string `json:"kind"`
			Name       string `json:"name"`
			Controller bool   `json:"controller"`
		} `json:"ownerReferences"`
		ManagedFields []management `json:"managedFields"`
	} `json:"metadata"`
	Type      string            `json:"type"`
	Immutable bool              `json:"immutable"`
	Data      map[string][]byte `json:"data"`
}

func (o object) exists() bool { return o.Metadata.ResourceVersion != "" }

// text returns a field's text, empty when there is none.
func (o object) text(field string) (secret.Text, error) {
	value := o.Data[field]
	if !utf8.Valid(value) {
		return secret.Text{}, fmt.Errorf("%w: the field %s is no text", stores.ErrInvalid, field)
	}
	return secret.New(string(value)), nil
}

// writable says why nothing should be written to the Secret.
func (o object) writable() error {
	var why string
	for _, owner := range o.Metadata.Owners {
		if owner.Controller {
			why = fmt.Sprintf("the Secret is controlled by %s %s, which would write over it", owner.Kind, owner.Name)
		}
	}
	switch {
	case o.Immutable:
		why = "the Secret is immutable"
	case o.Type == "kubernetes.io/service-account-token":
		why = "the Secret holds a service account's token"
	case o.Metadata.Deleted != nil:
		return errors.New("the Secret is being deleted") // which passes
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", stores.ErrInvalid, why)
}

// patch is what is to change in a Secret; a nil value removes a field.
type patch struct {
	data        map[string]any
	annotations map[string]string
}

// read returns the Secret as the API server's storage holds it now; the zero object when there is none.
func (s *Store) read(ctx context.Context, r ref) (o object, err error) {
	err = s.call(ctx, http.MethodGet, r.path(), nil, "", nil, &o)
	if errors.Is(err, stores.ErrNotFound) {
		return object{}, nil
	}
	return stored(o, err)
}

// stored is an answer that must show a Secret as it is stored.
func stored(o object, err error) (object, error) {
	if err == nil && !o.exists() {
		err = errUnreadable
	}
	return o, err
}

// dryRun asks for all of a call but its effect: https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run
const dryRun = true

// writing is the query of a call that writes.
func writing(dry bool) url.Values {
	query := url.Values{"fieldManager": {manager}}
	if dry {
		query.Set("dryRun", "All")
	}
	return query
}

// ensure makes sure that there is a Secret, an empty one if need be, with the labels and annotations of the configuration,
// and returns it. An existing Secret is not changed, except that one which another writer created since our read gets the
// labels and annotations too.
func (s *Store) ensure(ctx context.Context, r ref, dry bool) (o object, err error) {
	return s.apply(ctx, r, patch{}, dry)
}

// apply is ensure, with what is to be in the Secret.
func (s *Store) apply(ctx context.Context, r ref, p patch, dry bool) (o object, err error) {
	metadata := map[string]any{"name": r.name, "namespace": r.namespace}
	s.mark(metadata, p.annotations)
	wanted := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
	if p.data != nil {
		wanted["data"] = p.data
	}
	err = s.call(ctx, http.MethodPatch, r.path(), writing(dry), applyPatch, confidential{wanted, values(p.data)}, &o)
	if dry { // what is not there has no version
		return o, err
	}
	return stored(o, err)
}

// mark adds the labels and annotations of the configuration, and further annotations, to what is sent as metadata.
func (s *Store) mark(metadata map[string]any, more map[string]string) {
	if len(s.labels) > 0 {
		metadata["labels"] = s.labels
	}
	all := maps.Clone(s.annotations)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, more)
	if len(all) > 0 {
		metadata["annotations"] = all
	}
}

// patch changes the Secret if it is still as held: errMoved otherwise. The Secret beside a target also gets the labels and
// annotations of the configuration, which may have changed since it was made.
func (s *Store) patch(ctx context.Context, r ref, held object, p patch, dry bool) (o object, err error) {
	metadata := map[string]any{"resourceVersion": held.Metadata.ResourceVersion}
	if strings.HasSuffix(r.name, suffix) {
		s.mark(metadata, p.annotations)
	} else if p.annotations != nil {
		metadata["annotations"] = p.annotations
	}
	body := map[string]any{"metadata": metadata}
	if p.data != nil { // null would take all data away
		body["data"] = p.data
	}
	hidden := append(values(p.data), values(held.Data)...)
	err = s.call(ctx, http.MethodPatch, r.path(), writing(dry), mergePatch, confidential{body, hidden}, &o)
	return stored(o, err)
}

// remove deletes the Secret if it is still as held: errMoved otherwise.
func (s *Store) remove(ctx context.Context, r ref, held object) error {
	body := map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions",
		"preconditions": map[string]string{"resourceVersion": held.Metadata.ResourceVersion},
	}
	return s.call(ctx, http.MethodDelete, r.path(), nil, plain, body, nil)
}

// tries bounds how often one change begins again because of other writers.
const tries = 10

// errBusy: other writers change the Secret all the time. Nothing of ours was written.
var errBusy = errors.New("other writers change the Secret all the time")

// change brings the Secret to what decide asks for, again while others change it, and returns it. Decide sees the Secret
// as it was just read and returns nil for nothing to do.
//
// A crash or a lost answer anywhere leaves what was there, an empty Secret, or the whole change: the next process finds
// out which by reading.
func (s *Store) change(ctx context.Context, r ref, decide func(object) (*patch, error)) (object, error) {
	held, err := s.read(ctx, r)
	for try := 0; err == nil && try < tries; try++ {
		wanted, refused := decide(held)
		if refused != nil || wanted == nil {
			return held, refused
		}
		if !held.exists() {
			// Someone may have made it in the meantime: then it is theirs that comes back, and is looked at again.
			held, err = s.ensure(ctx, r, !dryRun)
			continue
		}
		changed, failed := s.patch(ctx, r, held, *wanted, !dryRun)
		if !errors.Is(failed, errMoved) && !errors.Is(failed, stores.ErrNotFound) {
			return changed, failed
		}
		held, err = s.read(ctx, r)
	}
	if err == nil {
		err = errBusy
	}
	return object{}, err
}

// note is what an annotation says about one field's key.
type note struct {
	Fingerprint secret.Fingerprint `json:"fingerprint"`
	Rotation    string             `json:"rotation"`
}

// noted returns the annotation with what it says of one field replaced. One that is unreadable is replaced.
func (o object) noted(field string, n note) map[string]string {
	notes := map[string]note{}
	if json.Unmarshal([]byte(o.Metadata.Annotations[keysAnnotation]), &notes) != nil || notes == nil {
		notes = map[string]note{}
	}
	notes[field] = n
	text, _ := json.Marshal(notes) // texts always encode
	return map[string]string{keysAnnotation: string(text)}
}

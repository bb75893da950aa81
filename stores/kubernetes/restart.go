package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"rotator/internal/secret"
	"rotator/stores"
)

// workload is what rolls its pods when their template changes.
type workload struct{ resource, name string }

// parseWorkload reads KIND/NAME.
func parseWorkload(text string) (w workload, ok bool) {
	kind, name, _ := strings.Cut(text, "/")
	return workload{kind + "s", name}, slices.Contains([]string{"deployment", "statefulset", "daemonset"}, kind) && subdomainForm.MatchString(name)
}

// workloads reads the annotation that names them.
func (o object) workloads() ([]workload, error) {
	var all []workload
	for entry := range strings.SplitSeq(o.Metadata.Annotations[restartAnnotation], ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		w, ok := parseWorkload(entry)
		if !ok {
			return nil, fmt.Errorf("%w: the annotation %s must list deployment/NAME, statefulset/NAME or daemonset/NAME", stores.ErrInvalid, restartAnnotation)
		}
		all = append(all, w)
	}
	return all, nil
}

// restart has every workload that the Secret names roll, unless its pods were made for this key already.
func (s *Store) restart(ctx context.Context, p place, held object, key secret.Fingerprint) error {
	all, err := held.workloads()
	if err != nil {
		return err
	}
	if err := s.patchWorkloads(ctx, p, all, writing(!dryRun), rolling(p, key)); err != nil {
		return fmt.Errorf("the key is promoted, but: %w", err)
	}
	return nil
}

// rolling is the patch by which a workload rolls.
func rolling(p place, key secret.Fingerprint) any {
	// An annotation for each field, so that two keys in one workload do not undo each other's.
	field := sha256.Sum256([]byte(p.name + "/" + p.field))
	return map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{"rotator/key-" + hex.EncodeToString(field[:4]): string(key)},
	}}}}
}

// restartable tries without effect whether every workload could be told, with the patch by which it would be.
func (s *Store) restartable(ctx context.Context, p place, held object) error {
	all, err := held.workloads()
	if err != nil {
		return err
	}
	return s.patchWorkloads(ctx, p, all, writing(dryRun), rolling(p, secret.New(string(standIn(keyLength))).Fingerprint()))
}

// patchWorkloads restarts all of them, also when one fails.
func (s *Store) patchWorkloads(ctx context.Context, p place, all []workload, query url.Values, body any) error {
	var failed []error
	for _, w := range all {
		path := "apis/apps/v1/namespaces/" + p.namespace + "/" + w.resource + "/" + w.name
		if err := s.call(ctx, http.MethodPatch, path, query, mergePatch, body, nil); err != nil {
			failed = append(failed, fmt.Errorf("restart %s %s: %w", w.resource, w.name, err))
		}
	}
	return errors.Join(failed...)
}

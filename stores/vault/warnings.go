package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"rotator/stores"
)

// retention is what KV 2 keeps of a secret, as its metadata or the mount's configuration says:
// https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
type retention struct {
	MaxVersions int    `json:"max_versions"` // 0: not said here
	DeleteAfter string `json:"delete_version_after"`
}

// defaultVersions is how many versions KV 2 keeps where neither the secret nor the mount says.
const defaultVersions = 10

// versions is how many versions are kept: the larger number, as KV 2 itself decides.
func (r retention) versions(mount retention) int {
	if most := max(r.MaxVersions, mount.MaxVersions); most > 0 {
		return most
	}
	return defaultVersions
}

// Warnings implements stores.Warner: what KV 1 cannot do, and former values that KV 2 will not keep. It reads the metadata
// of each secret and the mount's configuration; what the token may not look at is taken for Vault's default.
func (s *Store) Warnings(ctx context.Context, targets []stores.Target) (all []stores.Warning, err error) {
	var unknown []error
	var mount *retention // read once
	for _, fields := range stores.Together(targets, stores.ByPath) {
		found, err := s.warnings(ctx, fields, &mount)
		all = append(all, found...)
		if err != nil {
			unknown = append(unknown, s.about(settle(err), "look at", fields[0]))
		}
	}
	return all, errors.Join(unknown...)
}

// warnings are those of one secret.
func (s *Store) warnings(ctx context.Context, fields []stores.Target, mount **retention) (all []stores.Warning, err error) {
	p, e, err := s.find(ctx, fields[0])
	if err != nil {
		return nil, err
	}
	warn := func(text, do string) { all = append(all, stores.Warning{Targets: fields, Text: text, Do: do}) }
	if !e.atomic() {
		warn("KV version 1 has no check-and-set: what someone else writes in the moment of a promote can be lost", "Use a KV 2 mount.")
		warn("KV version 1 keeps no former values: there is no rollback", "Use a KV 2 mount.")
		return all, nil
	}
	if *mount == nil {
		kept, err := s.retention(ctx, s.mount+"/config")
		if err != nil {
			return nil, err
		}
		*mount = &kept
	}
	own, err := s.retention(ctx, s.mount+"/metadata/"+p.path)
	if err != nil {
		return nil, err
	}
	after := own.DeleteAfter
	if after == "" || after == "0s" {
		after = (*mount).DeleteAfter
	}
	if after != "" && after != "0s" {
		warn("delete_version_after is "+after+": Vault deletes each version after that time, also the one in use", "Turn it off for this secret.")
	}
	if kept := own.versions(**mount); len(fields) == 1 && kept < 2 { // where there are several, former keys are staged: see Forgets
		warn(fmt.Sprintf("max_versions is %d: no former value is kept, and there is no rollback", kept),
			fmt.Sprintf("Set max_versions of %s/%s to 2 or more.", s.mount, p.path))
	}
	return all, nil
}

// retention reads what is kept at a path of the API. Where nothing is there, or it is hidden, nothing is said.
func (s *Store) retention(ctx context.Context, path string) (kept retention, err error) {
	got, err := s.call(ctx, http.MethodGet, path, nil, nil)
	switch {
	case errors.Is(err, stores.ErrDenied), err == nil && got.nothing():
		return retention{}, nil
	case err != nil:
		return retention{}, err
	}
	err = got.data(&kept)
	return kept, err
}

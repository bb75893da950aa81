package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/stores"
	"rotator/stores/aws"
	"rotator/stores/file"
	"rotator/stores/kubernetes"
	"rotator/stores/vault"
)

// keeper is a store that does something by itself, such as keeping a login alive, until ctx ends.
type keeper interface {
	Run(ctx context.Context) error
}

// observer hears of each call to a store: its context, the store's name, the call, and how it ended.
type observer func(ctx context.Context, store, op, outcome string, took time.Duration)

// newStore makes the store that the configuration describes. Nothing is called yet.
func newStore(ctx context.Context, name string, c config.Store, log *slog.Logger) (stores.Store, error) {
	switch {
	case c.Vault != nil:
		return newVault(ctx, c.Vault, log.With("store", name))
	case c.AWS != nil:
		return aws.New(ctx, awsOptions(c.AWS))
	case c.File != nil:
		return file.New(fileOptions(c.File))
	case c.Kubernetes != nil:
		return kubernetes.New(kubernetesOptions(c.Kubernetes))
	}
	return nil, fmt.Errorf("type %q is not known", c.Type)
}

// permissionsOf is what the configuration of a store says of the rights that it needs; no secret of it is read.
func permissionsOf(c config.Store) stores.Permissions {
	switch {
	case c.Vault != nil:
		return vaultOptions(c.Vault)
	case c.AWS != nil:
		return awsOptions(c.AWS)
	case c.File != nil:
		return fileOptions(c.File)
	}
	return kubernetesOptions(c.Kubernetes) // one of them is set
}

func newVault(ctx context.Context, c *config.Vault, log *slog.Logger) (stores.Store, error) {
	o := vaultOptions(c)
	o.Logger = log
	o.Auth = vault.Auth{Method: c.Auth.Method, Mount: c.Auth.Mount, Role: c.Auth.Role}
	secrets := map[string]config.Reference{"token": c.Auth.Token, "approle": c.Auth.SecretID, "kubernetes": c.Auth.JWT, "jwt": c.Auth.JWT}
	if ref := secrets[c.Auth.Method]; !ref.IsZero() {
		o.Auth.Secret = ref.Read
	}
	if c.Auth.Method == "approle" {
		id, err := c.Auth.RoleID.Read(ctx)
		if err != nil {
			return nil, err
		}
		o.Auth.Role = id.Reveal()
	}
	return vault.New(o)
}

// vaultOptions are those without the login.
func vaultOptions(c *config.Vault) vault.Options {
	return vault.Options{
		Address: c.Address, Redirects: c.Redirects, Namespace: c.Namespace, Mount: c.Mount, KVVersion: c.KVVersion, StagingPrefix: c.StagingPrefix,
		CACert: c.TLS.CACert, ClientCert: c.TLS.ClientCert, ClientKey: c.TLS.ClientKey, ServerName: c.TLS.ServerName,
		Timeout: c.Timeout.Std(),
	}
}

func awsOptions(c *config.AWS) aws.Options {
	o := aws.Options{Region: c.Region, Endpoint: c.Endpoint, Profile: c.Profile, KMSKeyID: c.KMSKeyID, Role: aws.Role(c.AssumeRole)}
	for _, tag := range c.Tags {
		o.Tags = append(o.Tags, aws.Tag(tag))
	}
	return o
}

func fileOptions(c *config.File) file.Options {
	o := file.Options{Dir: c.Dir, Recipients: c.Recipients}
	if !c.Identity.IsZero() {
		o.Identity = c.Identity.ReadLines
	}
	return o
}

func kubernetesOptions(c *config.Kubernetes) kubernetes.Options {
	o := kubernetes.Options{Server: c.Server, CACert: c.CACert, ServerName: c.ServerName, Timeout: c.Timeout.Std(),
		Labels: c.Labels, Annotations: c.Annotations}
	if !c.Token.IsZero() {
		o.Token = c.Token.Read
	}
	return o
}

// outcome is how a call to a store ended, in a word of a closed list.
func outcome(err error) string {
	for _, o := range []struct {
		is   error
		word string
	}{
		{stores.ErrNotFound, "not_found"}, {stores.ErrConflict, "conflict"}, {stores.ErrNoStaging, "no_staging"},
		{stores.ErrStale, "stale"}, {stores.ErrCannotFence, "cannot_fence"},
		{stores.ErrDenied, "denied"}, {stores.ErrInvalid, "invalid"}, {context.DeadlineExceeded, "timeout"}, {context.Canceled, "canceled"},
	} {
		if errors.Is(err, o.is) {
			return o.word
		}
	}
	if err != nil {
		return "unknown"
	}
	return "ok"
}

// observed is a store whose calls are told to observe.
type observed struct {
	stores.Store
	name    string
	observe observer
}

func (o observed) tell(ctx context.Context, op string, begun time.Time, err error) {
	o.observe(ctx, o.name, op, outcome(err), time.Since(begun))
}

func (o observed) Stage(ctx context.Context, t stores.Target, attempt string, v secret.Text) (err error) {
	defer func(begun time.Time) { o.tell(ctx, "stage", begun, err) }(time.Now())
	return o.Store.Stage(ctx, t, attempt, v)
}

func (o observed) Staged(ctx context.Context, t stores.Target, attempt string) (v secret.Text, err error) {
	defer func(begun time.Time) { o.tell(ctx, "staged", begun, err) }(time.Now())
	return o.Store.Staged(ctx, t, attempt)
}

func (o observed) Promote(ctx context.Context, t stores.Target, attempt string, v secret.Text, expected secret.Fingerprint) (err error) {
	defer func(begun time.Time) { o.tell(ctx, "promote", begun, err) }(time.Now())
	return o.Store.Promote(ctx, t, attempt, v, expected)
}

func (o observed) Current(ctx context.Context, t stores.Target) (v secret.Text, err error) {
	defer func(begun time.Time) { o.tell(ctx, "current", begun, err) }(time.Now())
	return o.Store.Current(ctx, t)
}

func (o observed) Discard(ctx context.Context, t stores.Target, attempt string) (err error) {
	defer func(begun time.Time) { o.tell(ctx, "discard", begun, err) }(time.Now())
	return o.Store.Discard(ctx, t, attempt)
}

// Check implements stores.Checker; a store that cannot tell beforehand is as good as one that finds nothing.
func (o observed) Check(ctx context.Context, t stores.Target) (err error) {
	c, ok := o.Store.(stores.Checker)
	if !ok {
		return nil
	}
	defer func(begun time.Time) { o.tell(ctx, "check", begun, err) }(time.Now())
	return c.Check(ctx, t)
}

// Warnings implements stores.Warner; a store without it has no warnings.
func (o observed) Warnings(ctx context.Context, targets []stores.Target) (all []stores.Warning, err error) {
	w, ok := o.Store.(stores.Warner)
	if !ok {
		return nil, nil
	}
	defer func(begun time.Time) { o.tell(ctx, "warnings", begun, err) }(time.Now())
	return w.Warnings(ctx, targets)
}

// Previous implements stores.Previous; a store that keeps no former values finds none.
func (o observed) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (v secret.Text, err error) {
	p, ok := o.Store.(stores.Previous)
	if !ok {
		return secret.Text{}, stores.ErrNotFound
	}
	defer func(begun time.Time) { o.tell(ctx, "previous", begun, err) }(time.Now())
	return p.Previous(ctx, t, want)
}

// Fence implements stores.Fencer; a store that cannot fence says so, and the caller waits.
func (o observed) Fence(ctx context.Context, t stores.Target) (err error) {
	f, ok := o.Store.(stores.Fencer)
	if !ok {
		return stores.ErrCannotFence
	}
	defer func(begun time.Time) { o.tell(ctx, "fence", begun, err) }(time.Now())
	return f.Fence(ctx, t)
}

// Place implements stores.Placer; the place is not known where the store cannot tell it.
func (o observed) Place(ctx context.Context, t stores.Target) (place string, err error) {
	p, ok := o.Store.(stores.Placer)
	if !ok {
		return "", stores.ErrNotFound
	}
	defer func(begun time.Time) { o.tell(ctx, "place", begun, err) }(time.Now())
	return p.Place(ctx, t)
}

// Forgets implements stores.Forgetter; a store without it forgets nothing. It is a question about the store, and no call.
func (o observed) Forgets(ctx context.Context, t stores.Target) (bool, error) {
	f, ok := o.Store.(stores.Forgetter)
	if !ok {
		return false, nil
	}
	return f.Forgets(ctx, t)
}

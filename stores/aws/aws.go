// Package aws is the store over AWS Secrets Manager.
//
// A target's path is a secret's name or ARN. Without a field the secret's text is the key; with one it is a JSON object
// in which that field is the key, and whose other bytes are kept.
//
// # How a value is staged and promoted
//
// A secret is a row of versions that never change, and labels that sit on one version each; consumers read the version
// under AWSCURRENT. Stage adds a version, the current document with our field replaced, under a label of its own:
// "rotator-" and the attempt, and for a field also a hash of its name, since one attempt may stage in two fields of one
// secret. AWSPENDING is never used: there is one in a secret, and AWS's own rotation takes it.
//
// The version's id is computed from the attempt, the field, the value's fingerprint and the version it was merged from.
// A put that is repeated is therefore the same put, and one that is merged from something else is another version.
//
// Promote moves AWSCURRENT to the staged version on condition that it still sits on the version that was merged from,
// which AWS checks itself: a document that someone changed meanwhile is merged again, never overwritten. Discard takes
// the label away; AWS removes versions without labels in its own time, and keeps the newest 100 until then, from which
// Previous reads former values.
//
// Fence moves AWSCURRENT to a new version with the same content, so that a late move from the older version fails.
//
// All targets in one secret share its quotas of versions and staging labels. [Store.Warnings] compares them.
//
// AWS makes a secret's first version current whatever label is asked. A secret without a value therefore cannot stage:
// Stage only creates it, empty, where it is absent, and Promote, when it expects nothing, puts the first version.
//
// The rights needed are secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and UpdateSecretVersionStage on
// the secret, ListSecretVersionIds for Previous, CreateSecret where a secret may be absent, TagResource where it gets tags, and kms:Decrypt and
// kms:GenerateDataKey where a KMS key of one's own encrypts it. [Options.Permissions] writes the policy.
package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"rotator/internal/transport"
)

const (
	callTimeout  = 30 * time.Second // of one request with its answer
	readAttempts = 3                // of a call that changes nothing
	maxAnswer    = 4 << 20          // bytes: a page of 100 versions, or 64 KiB of value with every character escaped
)

// Options says which account and region hold the secrets. The zero Options take everything from the environment, as
// AWS's own tools do.
type Options struct {
	Region   string // "": from the environment or the profile
	Endpoint string // "": AWS's own; http is accepted on loopback only
	Profile  string // of the shared configuration files; "": AWS_PROFILE, or the default one
	Role     Role   // to assume with the credentials found
	KMSKeyID string // encrypts the secrets that are created; "": AWS's key for Secrets Manager
	Tags     []Tag  // of the secrets that are created; others keep theirs

	// HTTPClient carries every call, those to STS too. Nil: the SDK's own, which knows AWS_CA_BUNDLE and proxies.
	HTTPClient *http.Client
	// Credentials stand in for the default chain (environment, profile, web identity, container, instance).
	Credentials aws.CredentialsProvider
}

// Tag is a tag of a secret.
type Tag struct{ Key, Value string }

// Role is an IAM role to assume before any secret is touched. The zero Role is none.
type Role struct {
	ARN         string
	ExternalID  string // what the role's trust policy asks for; "": nothing
	SessionName string // seen in CloudTrail; "": rotator
}

// Store is the secrets of one account in one region. It is safe for concurrent use.
type Store struct {
	client   *secretsmanager.Client
	region   string
	kmsKeyID string
	tags     []types.Tag
}

// New returns a store after reading the environment and AWS's configuration files; it calls nothing, so that wrong
// credentials show in Check. Errors never quote those files.
func New(ctx context.Context, o Options) (*Store, error) {
	if o.Endpoint != "" {
		if err := checkEndpoint(o.Endpoint); err != nil {
			return nil, err
		}
	}
	load := []func(*config.LoadOptions) error{
		config.WithRegion(o.Region),
		config.WithSharedConfigProfile(o.Profile),
		config.WithCredentialsProvider(o.Credentials),
		config.WithCredentialsCacheOptions(early),
		config.WithLogger(logging.Nop{}),
	}
	if o.HTTPClient != nil {
		load = append(load, config.WithHTTPClient(o.HTTPClient))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if missing := (config.SharedConfigProfileNotExistError{}); errors.As(err, &missing) {
		return nil, fmt.Errorf("aws: the shared configuration has no profile %q", missing.Profile)
	}
	if err != nil {
		return nil, errors.New("aws: the environment or the shared configuration files cannot be used; `aws configure list` shows what they say")
	}
	if cfg.Region == "" {
		return nil, errors.New("aws: no region: set region, or AWS_REGION")
	}
	if o.Role.ARN != "" {
		cfg.Credentials = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.Role.ARN, o.Role.apply)
	}
	cfg.Credentials = aws.NewCredentialsCache(login{cfg.Credentials}, early)
	client := secretsmanager.NewFromConfig(cfg, func(so *secretsmanager.Options) {
		so.HTTPClient = guard{withoutRedirects(cfg.HTTPClient)}
		so.RetryMaxAttempts = readAttempts
		if o.Endpoint != "" {
			so.BaseEndpoint = &o.Endpoint
		}
	})
	s := &Store{client: client, region: cfg.Region, kmsKeyID: o.KMSKeyID}
	for _, tag := range o.Tags {
		s.tags = append(s.tags, types.Tag{Key: aws.String(tag.Key), Value: aws.String(tag.Value)})
	}
	return s, nil
}

// early has a session replaced before it ends. AWS's clock may be ahead of ours, and a session that ended on the way reads
// as a refusal.
func early(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = 5 * time.Minute }

// once is for calls that change something: when to repeat those is the caller's to say.
func once(o *secretsmanager.Options) { o.RetryMaxAttempts = 1 }

func (r Role) apply(o *stscreds.AssumeRoleOptions) {
	o.RoleSessionName = "rotator"
	if r.SessionName != "" {
		o.RoleSessionName = r.SessionName
	}
	if r.ExternalID != "" {
		o.ExternalID = &r.ExternalID
	}
}

// checkEndpoint refuses what would carry secrets in the clear, and quotes nothing: a URL may hold credentials.
func checkEndpoint(endpoint string) error {
	if _, err := transport.Address(endpoint); err != nil {
		return fmt.Errorf("aws: the endpoint %w: want https://HOST, or http:// on loopback", err)
	}
	return nil
}

// withoutRedirects returns c as a client with a time limit that follows no redirect: the headers that it would send
// elsewhere hold a session token, and the body the secret.
func withoutRedirects(c aws.HTTPClient) *http.Client {
	var hc http.Client
	switch c := c.(type) {
	case *http.Client:
		hc = *c
	case *awshttp.BuildableClient:
		t := c.GetTransport()
		transport.Harden(t)
		hc.Transport = t
	}
	if hc.Timeout == 0 {
		hc.Timeout = callTimeout
	}
	if hc.Transport == nil {
		hc.Transport = http.DefaultTransport
	}
	hc.Transport = lastCheck{hc.Transport}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &hc
}

// guard is between the SDK and the network. It also holds an endpoint that the environment set
// (AWS_ENDPOINT_URL) to the rule of Options.Endpoint.
type guard struct{ next *http.Client }

// Do sends the request and bounds the answer.
func (g guard) Do(r *http.Request) (*http.Response, error) {
	if !transport.Private(r.URL) {
		return nil, errInsecure
	}
	resp, err := g.next.Do(r) //nolint:gosec // to the endpoint that the configuration names
	if err == nil {
		resp.Body = bounded{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// errInsecure means that an endpoint is neither https nor loopback.
var errInsecure = errors.New("the endpoint must be https; http is for loopback only")

type bounded struct {
	io.Reader
	io.Closer
}

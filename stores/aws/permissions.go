package aws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"rotator/stores"
)

var _ stores.Permissions = Options{}

// maxPolicy is how long a managed policy may be, in characters that are not white space; ten of them can be attached to a
// role: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const maxPolicy = 6144

// policy is an IAM policy for identities.
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string]string `json:",omitempty"`
}

func allow(sid string, resources []string, actions ...string) statement {
	return statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources}
}

// Permissions implements stores.Permissions: a policy for the login, in as many documents as AWS's limit of size takes,
// or for the role that it assumes, and then one for the login that it may. Only Region, Role, KMSKeyID and
// Tags count.
//
// A secret's ARN ends in six characters that AWS draws when it is created, so ?????? stands for them. It matches the
// secret of this name and no other, and also one that does not exist yet:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/permissions_grant-limited-resources.html
func (o Options) Permissions(targets []stores.Target) ([]stores.Document, error) {
	return o.permissions(targets, o.rotates, []string{"kms:Decrypt", "kms:GenerateDataKey"},
		"FindFormerValues is for rollbacks, and asked for by `rotator check`; CreateSecrets may go when every secret exists.")
}

// ReadPermissions implements stores.Permissions: policies as of Permissions, to read the secrets and no more.
func (o Options) ReadPermissions(targets []stores.Target) ([]stores.Document, error) {
	reads := func(all, _ []string) []statement {
		return []statement{allow("ReadSecrets", all, "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")}
	}
	return o.permissions(targets, reads, []string{"kms:Decrypt"})
}

// grants are the statements for secrets, the ARNs of all of them and of those that can be created by their name.
type grants func(all, named []string) []statement

func (o Options) permissions(targets []stores.Target, grant grants, useKey []string, more ...string) ([]stores.Document, error) {
	in := o.place()
	about := []string{"IAM policy for the login."}
	if o.Role.ARN != "" {
		about[0] = "IAM policy for the role " + o.Role.ARN + "."
	}
	if in.Region == "*" || in.AccountID == "*" {
		about = append(about, "Where an ARN has * for the region or the account, put the login's own to say it outright.")
	}
	about = append(about, more...)
	var key []statement
	if o.KMSKeyID == "" {
		about = append(about, "Secrets under a KMS key of your own take rights to the key as well: name it as kms_key_id.")
	} else {
		use, err := o.useKey(in, useKey)
		if err != nil {
			return nil, err
		}
		key = []statement{use}
	}
	var secrets []secretARN
	for _, path := range stores.Paths(targets) {
		a, err := in.secret(path)
		if err != nil {
			return nil, fmt.Errorf("IAM policy for %s: %w", path, err)
		}
		secrets = append(secrets, a)
	}
	parts := split(secrets, grant, key)
	var documents []stores.Document
	for i, p := range parts {
		d := stores.Document{Format: "json", About: about, Text: p.text()}
		if len(parts) > 1 {
			d.About = append([]string{fmt.Sprintf("Part %d of %d, all of which are needed: a managed policy has at most %d characters.", i+1, len(parts), maxPolicy)}, about...)
		}
		documents = append(documents, d)
	}
	if o.Role.ARN != "" {
		assume := newPolicy(allow("AssumeRole", []string{o.Role.ARN}, "sts:AssumeRole"))
		documents = append(documents, stores.Document{Format: "json", Text: assume.text(), About: []string{
			"IAM policy for the login, which assumes that role; the role's trust policy must name the login.",
		}})
	}
	return documents, nil
}

// place is where the secrets are, as the beginning of an ARN. What the configuration does not say is *: a name is only
// ever looked for in the login's own account, and another's secrets open to no one whom that account did not let in.
type place struct{ arn.ARN }

func (o Options) place() place {
	in := place{arn.ARN{Partition: "aws", Region: cmp.Or(o.Region, "*"), AccountID: "*"}}
	if role, err := arn.Parse(o.Role.ARN); err == nil {
		in.Partition, in.AccountID = role.Partition, role.AccountID
		return in
	}
	for _, p := range []struct{ regions, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(o.Region, p.regions) {
			in.Partition = p.partition
		}
	}
	return in
}

func (in place) of(service, resource string) string {
	in.Service, in.Resource = service, resource
	return in.String()
}

// secretARN matches one secret.
type secretARN struct {
	text  string
	named bool // the target is a name, under which a secret can be created
}

// What a secret's name is of, and how the ARN of one ends.
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html)
var (
	secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]{1,512}$`)
	drawn      = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)
)

const anyDrawn = "-??????"

// secret returns the ARN of the secret at the target's path: a name, an ARN, or an ARN less its last seven characters.
func (in place) secret(path string) (secretARN, error) {
	if !strings.HasPrefix(path, "arn:") {
		if !secretName.MatchString(path) {
			return secretARN{}, fmt.Errorf("%w: AWS takes no such name for a secret", stores.ErrInvalid)
		}
		return secretARN{in.of("secretsmanager", "secret:"+path+anyDrawn), true}, nil
	}
	a, err := arn.Parse(path)
	name, isSecret := strings.CutPrefix(a.Resource, "secret:")
	if err != nil || !isSecret || !secretName.MatchString(name) || strings.ContainsAny(path, "*?$") {
		return secretARN{}, fmt.Errorf("%w: it is not the ARN of a secret", stores.ErrInvalid)
	}
	if !drawn.MatchString(path) {
		path += anyDrawn
	}
	return secretARN{path, false}, nil
}

// useKey allows what Secrets Manager does with the KMS key in the login's name, and only by its way:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
func (o Options) useKey(in place, actions []string) (statement, error) {
	id := o.KMSKeyID
	if a, err := arn.Parse(id); err == nil {
		in, id = place{a}, strings.TrimPrefix(a.Resource, "key/")
	}
	if strings.ContainsAny(id, "*?$") {
		return statement{}, fmt.Errorf("IAM policy: %w: kms_key_id is no name of a key", stores.ErrInvalid)
	}
	via := "secretsmanager." + in.Region + ".amazonaws.com"
	if in.Partition != "aws" {
		via += "*" // other partitions have other domains
	}
	conditions := map[string]map[string]string{"StringLike": {"kms:ViaService": via}}
	if strings.HasPrefix(id, "alias/") { // which no ARN of a policy can name
		conditions["ForAnyValue:StringEquals"] = map[string]string{"kms:ResourceAliases": id}
		id = "*"
	}
	use := allow("UseKMSKey", []string{in.of("kms", "key/"+id)}, actions...)
	use.Condition = conditions
	return use, nil
}

// split makes policies for the secrets, none longer than AWS takes. The first one has what is needed beside.
func split(secrets []secretARN, grant grants, beside []statement) []policy {
	var done []policy
	begin := 0
	for end := range secrets {
		longer := forSecrets(secrets[begin:end+1], grant, beside)
		if end > begin && longer.size() > maxPolicy {
			done = append(done, forSecrets(secrets[begin:end], grant, beside))
			begin, beside = end, nil
		}
	}
	return append(done, forSecrets(secrets[begin:], grant, beside))
}

func forSecrets(secrets []secretARN, grant grants, beside []statement) policy {
	var all, named []string
	for _, s := range secrets {
		all = append(all, s.text)
		if s.named {
			named = append(named, s.text)
		}
	}
	return newPolicy(append(grant(all, named), beside...)...)
}

// rotates grants all that rotations need.
func (o Options) rotates(all, named []string) []statement {
	of := []statement{
		allow("RotateSecrets", all, "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
			"secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"),
		allow("FindFormerValues", all, "secretsmanager:ListSecretVersionIds"),
	}
	if len(named) > 0 {
		create := []string{"secretsmanager:CreateSecret"}
		if len(o.Tags) > 0 {
			create = append(create, "secretsmanager:TagResource")
		}
		of = append(of, allow("CreateSecrets", named, create...))
	}
	return of
}

func newPolicy(statements ...statement) policy { return policy{"2012-10-17", statements} }

// size is the policy's length as AWS counts it. No text in it holds white space.
func (p policy) size() int {
	compact, _ := json.Marshal(p) // texts always encode
	return len(compact)
}

func (p policy) text() string {
	text, _ := json.MarshalIndent(p, "", "  ") // texts always encode
	return string(text) + "\n"
}

package awstest

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// The labels that AWS itself moves.
const (
	current  = "AWSCURRENT"
	previous = "AWSPREVIOUS"
)

// The quotas of AWS that a rotation can meet.
const (
	maxValue    = 65536 // bytes of a value
	maxVersions = 100   // versions of a secret, before those without labels are removed
	maxLabels   = 20    // labels of a secret, over all its versions
)

// secret is one secret in one region.
type secret struct {
	name, arn, kmsKey string
	tags              map[string]string
	versions          []*version // the oldest first
	created           time.Time
	deleted           time.Time // when it will be gone; zero: never
	rotates           bool      // AWS's own rotation is on
	primary           string    // the region where it is written; "": this one, and there are no replicas
	owner             string    // the AWS service that manages it
}

// version is one value of a secret. Its content never changes.
type version struct {
	id      string
	content content
	labels  []string
	created time.Time
}

// content is a text or bytes, never both.
type content struct {
	Text   *string `json:"SecretString"`
	Binary []byte  `json:"SecretBinary"`
}

func (c content) given() bool { return c.Text != nil || c.Binary != nil }

func (c content) equal(d content) bool {
	if (c.Text == nil) != (d.Text == nil) || !bytes.Equal(c.Binary, d.Binary) {
		return false
	}
	return c.Text == nil || *c.Text == *d.Text
}

func (c content) check() error {
	switch {
	case c.Text != nil && c.Binary != nil:
		return fail("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret.")
	case c.Text != nil && len(*c.Text) > maxValue, len(c.Binary) > maxValue:
		// AWS quotes what it refuses, and so does this message: no caller may pass it on.
		value := string(c.Binary)
		if c.Text != nil {
			value = *c.Text
		}
		return fail("ValidationException", "1 validation error detected: Value '%s' at 'secretString' failed to satisfy constraint", value)
	}
	return nil
}

// named reports whether id is the secret's name, its ARN, or its ARN without the last hyphen and six characters.
func (s *secret) named(id string) bool {
	return id == s.name || id == s.arn || id == s.arn[:len(s.arn)-7]
}

func (s *secret) version(id string) *version {
	for _, v := range s.versions {
		if v.id == id {
			return v
		}
	}
	return nil
}

// holder returns the version that has label, or nil.
func (s *secret) holder(label string) *version {
	for _, v := range s.versions {
		if slices.Contains(v.labels, label) {
			return v
		}
	}
	return nil
}

// move takes label from whichever version has it and gives it to v; AWSPREVIOUS follows AWSCURRENT.
func (s *secret) move(label string, v *version) {
	from := s.holder(label)
	if from == v {
		return
	}
	if from != nil {
		from.drop(label)
	}
	v.labels = append(v.labels, label)
	if label == current && from != nil {
		s.move(previous, from)
	}
}

func (v *version) drop(label string) {
	v.labels = slices.DeleteFunc(v.labels, func(l string) bool { return l == label })
}

// put adds a version, or finds the one that the same request made before and does nothing.
func (s *secret) put(id string, c content, labels []string) (*version, error) {
	if len(id) < 32 || len(id) > 64 {
		return nil, fail("InvalidParameterException", "ClientRequestToken must have 32 to 64 characters.")
	}
	if !c.given() {
		return nil, fail("InvalidRequestException", "You must provide either SecretString or SecretBinary.")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if v := s.version(id); v != nil {
		if !v.content.equal(c) {
			return nil, fail("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", id, s.arn)
		}
		return v, nil
	}
	if len(labels) == 0 || len(s.versions) == 0 && !slices.Contains(labels, current) {
		labels = append(slices.Clone(labels), current)
	}
	if s.labelsWith(labels) > maxLabels {
		return nil, fail("LimitExceededException", "You've exceeded the maximum number of staging labels of a secret.")
	}
	v := &version{id: id, content: c, created: time.Now()}
	s.versions = append(s.versions, v)
	for _, l := range labels {
		s.move(l, v)
	}
	s.reap()
	return v, nil
}

// labelsWith counts the secret's labels once those of more are attached too.
func (s *secret) labelsWith(more []string) int {
	all := map[string]bool{}
	for _, v := range s.versions {
		for _, l := range v.labels {
			all[l] = true
		}
	}
	for _, l := range more {
		all[l] = true
	}
	return len(all)
}

// reap removes the oldest versions without labels until the quota is kept.
func (s *secret) reap() {
	for i := 0; i < len(s.versions) && len(s.versions) > maxVersions; {
		if len(s.versions[i].labels) == 0 {
			s.versions = slices.Delete(s.versions, i, i+1)
		} else {
			i++
		}
	}
}

// stage moves a label between versions, or removes it when to is empty. from must be the version that has it: with
// AWSCURRENT that makes a compare-and-swap.
func (s *secret) stage(label, to, from string) error {
	holder := s.holder(label)
	bearer := ""
	if holder != nil {
		bearer = holder.id
	}
	target := s.version(to)
	switch {
	case label == "" || to == "" && from == "":
		return fail("InvalidParameterException", "You must name a label and a version.")
	case to != "" && target == nil:
		return fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret version.")
	case from != bearer && (from != "" || bearer != to):
		return fail("InvalidParameterException", "The parameter RemoveFromVersionId can't be %q: staging label %s is attached to %q.", from, label, bearer)
	case to == "" && label == current:
		return fail("InvalidParameterException", "You can't remove AWSCURRENT without moving it to another version.")
	case to == "":
		holder.drop(label)
	case holder == nil && s.labelsWith([]string{label}) > maxLabels:
		return fail("LimitExceededException", "You've exceeded the maximum number of staging labels of a secret.")
	default:
		s.move(label, target)
	}
	return nil
}

// find returns the secret that id names, unless it is doomed; writing says that a replica will not do.
func (s *Server) find(region, id string, writing bool) (*secret, error) {
	sec, err := s.lookup(region, id)
	if err != nil {
		return nil, err
	}
	if !sec.deleted.IsZero() {
		return nil, fail("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	if writing && sec.primary != "" && sec.primary != region {
		return nil, fail("InvalidRequestException", "Operation not permitted on a replica secret. Call must be made in primary secret's region.")
	}
	if writing && sec.owner != "" {
		return nil, fail("InvalidRequestException", "This secret is managed by %s.", sec.owner)
	}
	return sec, nil
}

func (s *Server) lookup(region, id string) (*secret, error) {
	if id == "" {
		return nil, fail("InvalidParameterException", "SecretId is required.")
	}
	if strings.HasPrefix(id, "arn:") {
		for _, sec := range s.regions[region] {
			if sec.named(id) {
				return sec, nil
			}
		}
	} else if sec := s.regions[region][id]; sec != nil {
		return sec, nil
	}
	return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

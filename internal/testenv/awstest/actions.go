package awstest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// request holds the members of every request that this emulator knows.
type request struct {
	content
	SecretID            string `json:"SecretId"`
	Name                string
	Description         string
	KmsKeyID            string `json:"KmsKeyId"`
	ClientRequestToken  string
	VersionID           string `json:"VersionId"`
	VersionStage        string
	VersionStages       []string
	MoveToVersionID     string `json:"MoveToVersionId"`
	RemoveFromVersionID string `json:"RemoveFromVersionId"`
	IncludeDeprecated   bool
	MaxResults          int
	NextToken           string
	RecoveryWindowDays  int64 `json:"RecoveryWindowInDays"`
	ForceDelete         bool  `json:"ForceDeleteWithoutRecovery"`
	Tags                []struct{ Key, Value string }
	RotationLambdaARN   string
	RotationRules       map[string]any
	RotateImmediately   *bool
}

func (r *request) id() string {
	if r.Name != "" {
		return r.Name
	}
	return r.SecretID
}

func (r *request) labels() []string {
	labels := slices.Clone(r.VersionStages)
	if r.VersionStage != "" {
		labels = append(labels, r.VersionStage)
	}
	return labels
}

// object is a JSON object of an answer.
type object map[string]any

// actions is what this emulator can do, with the server's lock held.
var actions = map[string]func(*Server, string, *request) (any, error){
	"CreateSecret":             (*Server).createSecret,
	"PutSecretValue":           (*Server).putSecretValue,
	"UpdateSecret":             (*Server).updateSecret,
	"GetSecretValue":           (*Server).getSecretValue,
	"DescribeSecret":           (*Server).describeSecret,
	"UpdateSecretVersionStage": (*Server).updateSecretVersionStage,
	"ListSecretVersionIds":     (*Server).listSecretVersionIDs,
	"DeleteSecret":             (*Server).deleteSecret,
	"RestoreSecret":            (*Server).restoreSecret,
	"TagResource":              (*Server).tagResource,
	"RotateSecret":             (*Server).rotateSecret,
	"CancelRotateSecret":       (*Server).cancelRotateSecret,
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)

func (s *Server) createSecret(region string, in *request) (any, error) {
	if !nameForm.MatchString(in.Name) {
		return nil, fail("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if sec := s.regions[region][in.Name]; sec != nil {
		if !sec.deleted.IsZero() {
			return nil, fail("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
		}
		if v := sec.version(in.ClientRequestToken); v != nil && v.content.equal(in.content) {
			return object{"ARN": sec.arn, "Name": sec.name, "VersionId": v.id}, nil
		}
		return nil, fail("ResourceExistsException", "The operation failed because the secret %s already exists.", in.Name)
	}
	if s.kmsOff {
		return nil, fail("EncryptionFailure", "")
	}
	s.created++
	sec := &secret{
		name: in.Name, kmsKey: in.KmsKeyID, tags: map[string]string{}, created: time.Now(),
		arn: fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-%06d", region, account, in.Name, s.created),
	}
	sec.tag(in)
	answer := object{"ARN": sec.arn, "Name": sec.name}
	if in.given() {
		v, err := sec.put(in.ClientRequestToken, in.content, nil)
		if err != nil {
			return nil, err
		}
		answer["VersionId"] = v.id
	}
	if s.regions[region] == nil {
		s.regions[region] = map[string]*secret{}
	}
	s.regions[region][in.Name] = sec
	return answer, nil
}

func (s *Server) putSecretValue(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, true)
	if err != nil {
		return nil, err
	}
	if s.kmsOff {
		return nil, fail("EncryptionFailure", "")
	}
	v, err := sec.put(in.ClientRequestToken, in.content, in.VersionStages)
	if err != nil {
		return nil, err
	}
	return object{"ARN": sec.arn, "Name": sec.name, "VersionId": v.id, "VersionStages": v.labels}, nil
}

func (s *Server) updateSecret(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, true)
	if err != nil {
		return nil, err
	}
	answer := object{"ARN": sec.arn, "Name": sec.name}
	if in.given() {
		v, err := sec.put(in.ClientRequestToken, in.content, nil)
		if err != nil {
			return nil, err
		}
		answer["VersionId"] = v.id
	}
	if in.KmsKeyID != "" {
		sec.kmsKey = in.KmsKeyID
	}
	return answer, nil
}

func (s *Server) getSecretValue(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, false)
	if err != nil {
		return nil, err
	}
	label := in.VersionStage
	if label == "" && in.VersionID == "" {
		label = current
	}
	v := sec.version(in.VersionID)
	if in.VersionID == "" {
		v = sec.holder(label)
	}
	if v == nil {
		return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret value.")
	}
	if label != "" && !slices.Contains(v.labels, label) {
		return nil, fail("InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
	}
	if s.kmsOff {
		return nil, fail("DecryptionFailure", "Secrets Manager can't decrypt the protected secret text using the provided KMS key.")
	}
	answer := object{"ARN": sec.arn, "Name": sec.name, "VersionId": v.id, "VersionStages": v.labels, "CreatedDate": seconds(v.created)}
	if v.content.Text != nil {
		answer["SecretString"] = *v.content.Text
	} else {
		answer["SecretBinary"] = v.content.Binary
	}
	return answer, nil
}

func (s *Server) describeSecret(region string, in *request) (any, error) {
	sec, err := s.lookup(region, in.SecretID)
	if err != nil {
		return nil, err
	}
	stages := map[string][]string{}
	for _, v := range sec.versions {
		if len(v.labels) > 0 {
			stages[v.id] = v.labels
		}
	}
	answer := object{"ARN": sec.arn, "Name": sec.name, "CreatedDate": seconds(sec.created), "VersionIdsToStages": stages}
	if sec.rotates {
		answer["RotationEnabled"] = true
	}
	for member, text := range map[string]string{"KmsKeyId": sec.kmsKey, "PrimaryRegion": sec.primary, "OwningService": sec.owner} {
		if text != "" {
			answer[member] = text
		}
	}
	if !sec.deleted.IsZero() {
		answer["DeletedDate"] = seconds(sec.deleted)
	}
	var tags []object
	for k, v := range sec.tags {
		tags = append(tags, object{"Key": k, "Value": v})
	}
	answer["Tags"] = tags
	return answer, nil
}

func (s *Server) updateSecretVersionStage(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, true)
	if err != nil {
		return nil, err
	}
	if err := sec.stage(in.VersionStage, in.MoveToVersionID, in.RemoveFromVersionID); err != nil {
		return nil, err
	}
	return object{"ARN": sec.arn, "Name": sec.name}, nil
}

// listSecretVersionIDs answers in pages; a token is the number of versions already told.
func (s *Server) listSecretVersionIDs(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, false)
	if err != nil {
		return nil, err
	}
	versions := []object{}
	for _, v := range sec.versions {
		if len(v.labels) > 0 || in.IncludeDeprecated {
			versions = append(versions, object{"VersionId": v.id, "VersionStages": v.labels, "CreatedDate": seconds(v.created)})
		}
	}
	start := 0
	if in.NextToken != "" {
		if start, err = strconv.Atoi(in.NextToken); err != nil || start < 0 || start > len(versions) {
			return nil, fail("InvalidNextTokenException", "")
		}
	}
	size := in.MaxResults
	if size <= 0 || size > 100 {
		size = 100
	}
	end := min(start+size, len(versions))
	answer := object{"ARN": sec.arn, "Name": sec.name, "Versions": versions[start:end]}
	if end < len(versions) {
		answer["NextToken"] = strconv.Itoa(end)
	}
	return answer, nil
}

func (s *Server) deleteSecret(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, true)
	if err != nil {
		return nil, err
	}
	days := in.RecoveryWindowDays
	if days == 0 {
		days = 30
	}
	if days < 7 || days > 30 {
		return nil, fail("InvalidParameterException", "RecoveryWindowInDays must be between 7 and 30.")
	}
	sec.deleted = time.Now().AddDate(0, 0, int(days))
	if in.ForceDelete {
		sec.deleted = time.Now()
		delete(s.regions[region], sec.name)
	}
	return object{"ARN": sec.arn, "Name": sec.name, "DeletionDate": seconds(sec.deleted)}, nil
}

func (s *Server) restoreSecret(region string, in *request) (any, error) {
	sec, err := s.lookup(region, in.SecretID)
	if err != nil {
		return nil, err
	}
	sec.deleted = time.Time{}
	return object{"ARN": sec.arn, "Name": sec.name}, nil
}

func (s *Server) tagResource(region string, in *request) (any, error) {
	sec, err := s.find(region, in.SecretID, true)
	if err != nil {
		return nil, err
	}
	sec.tag(in)
	return object{}, nil
}

func (s *secret) tag(in *request) {
	for _, t := range in.Tags {
		s.tags[t.Key] = t.Value
	}
}

func (s *Server) rotateSecret(region string, in *request) (any, error) {
	return s.setRotation(region, in.SecretID, true)
}

func (s *Server) cancelRotateSecret(region string, in *request) (any, error) {
	return s.setRotation(region, in.SecretID, false)
}

// setRotation turns AWS's own rotation on or off; no function is ever called.
func (s *Server) setRotation(region, id string, on bool) (any, error) {
	sec, err := s.find(region, id, true)
	if err != nil {
		return nil, err
	}
	sec.rotates = on
	return object{"ARN": sec.arn, "Name": sec.name}, nil
}

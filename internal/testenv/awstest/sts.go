package awstest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// AddKey lets an access key in; token is the session token that it needs, "" for a long-term key. From the first added
// key on, no other is let in.
func (s *Server) AddKey(id, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = token
}

// AddRole lets AssumeRole answer for arn, if the request brings externalID.
func (s *Server) AddRole(arn, externalID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[arn] = externalID
}

// RoleKey is the access key id that AssumeRole gives out for every role.
const RoleKey = "ASIAEMULATEDROLE0000"

type assumeRoleResponse struct {
	XMLName     xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	AccessKeyID string   `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	Secret      string   `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
	Token       string   `xml:"AssumeRoleResult>Credentials>SessionToken"`
	Expiration  string   `xml:"AssumeRoleResult>Credentials>Expiration"`
	Role        string   `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
}

type stsErrorResponse struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Code    string   `xml:"Error>Code"`
	Message string   `xml:"Error>Message"`
}

// serveSTS answers AssumeRole, the one call of STS that it knows.
func (s *Server) serveSTS(w http.ResponseWriter, key string, body []byte) {
	w.Header().Set("Content-Type", "text/xml")
	form, err := url.ParseQuery(string(body))
	arn := form.Get("RoleArn")
	s.mu.Lock()
	externalID, known := s.roles[arn]
	policies, limited := s.policies[key]
	s.mu.Unlock()
	known = known && (!limited || allows(policies, need{action: "sts:AssumeRole", resource: arn}))
	switch {
	case err != nil || form.Get("Action") != "AssumeRole" || form.Get("RoleSessionName") == "":
		w.WriteHeader(http.StatusBadRequest)
		_ = xml.NewEncoder(w).Encode(stsErrorResponse{Code: "InvalidAction"})
		return
	case !known || externalID != form.Get("ExternalId"):
		w.WriteHeader(http.StatusForbidden)
		_ = xml.NewEncoder(w).Encode(stsErrorResponse{Code: "AccessDenied", Message: fmt.Sprintf("not authorized to perform: sts:AssumeRole on resource: %s with %s", arn, form.Get("ExternalId"))})
		return
	}
	const token = "emulated-session-token"
	s.mu.Lock()
	if len(s.keys) > 0 { // otherwise every key is let in
		s.keys[RoleKey] = token
	}
	s.mu.Unlock()
	_ = xml.NewEncoder(w).Encode(assumeRoleResponse{
		AccessKeyID: RoleKey, Secret: "emulated-secret", Token: token,
		Expiration: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		Role:       arn + "/" + form.Get("RoleSessionName"),
	})
}

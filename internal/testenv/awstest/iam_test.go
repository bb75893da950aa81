package awstest

import (
	"fmt"
	"strings"
	"testing"
)

func TestAllows(t *testing.T) {
	t.Parallel()
	const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/grok-000001"
	statement := func(effect, action, resource string) string {
		return fmt.Sprintf(`{"Effect": %q, "Action": %q, "Resource": [%q]}`, effect, action, resource)
	}
	get := need{action: "secretsmanager:GetSecretValue", resource: secret, context: map[string][]string{"kms:ResourceAliases": {"alias/a", "alias/b"}}}
	for _, tc := range []struct {
		statements string
		want       bool
	}{
		{statement("Allow", "secretsmanager:GetSecretValue", secret), true},
		{statement("Allow", "secretsmanager:getsecretvalue", "*"), true},
		{statement("Allow", "secretsmanager:Get*", "arn:aws:secretsmanager:*:*:secret:prod/grok-??????"), true},
		{statement("Allow", "*", "arn:aws:secretsmanager:eu-west-1:*:secret:*"), true},
		{statement("Allow", "secretsmanager:PutSecretValue", secret), false},
		{statement("Allow", "secretsmanager:*", "arn:aws:secretsmanager:*:*:secret:prod/grok-?????"), false},
		{statement("Allow", "secretsmanager:*", "arn:aws:secretsmanager:*:*:secret:prod/grok"), false},
		{statement("Allow", "secretsmanager:*", "arn:aws:*:*:*:PROD/*"), false},
		{statement("Allow", "*", "*") + "," + statement("Deny", "secretsmanager:Get*", "*"), false},
		{`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/b"}}}`, true},
		{`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"kms:ResourceAliases": ["x", "*/a"]}}}`, true},
		{`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"kms:ResourceAliases": "alias/*"}}}`, false},
		{`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:username": "*"}}}`, false},
	} {
		p, err := parsePolicy(`{"Version": "2012-10-17", "Statement": [` + tc.statements + `]}`)
		if err != nil {
			t.Errorf("%s: %v", tc.statements, err)
		} else if got := allows([]iamPolicy{p}, get); got != tc.want {
			t.Errorf("%s allows: %v", tc.statements, got)
		}
	}
}

// TestAttach: what AWS does not take, or this emulator would not hold to, is refused.
func TestAttach(t *testing.T) {
	t.Parallel()
	long := `"arn:aws:secretsmanager:*:*:secret:` + strings.Repeat("x", maxPolicy) + `"`
	for _, statement := range []string{
		``,
		`{"Effect": "Allow", "Action": "*"}`,
		`{"Action": "*", "Resource": "*"}`,
		`{"Effect": "Allow", "Action": "GetSecretValue", "Resource": "*"}`,
		`{"Effect": "Allow", "Action": "*", "Resource": "prod/grok"}`,
		`{"Effect": "Allow", "Action": "*", "Resource": ` + long + `}`,
		`{"Effect": "Allow", "NotAction": "*", "Resource": "*"}`,
		`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}`,
		`{"Sid": "a b", "Effect": "Allow", "Action": "*", "Resource": "*"}`,
		`{"Sid": "a", "Effect": "Allow", "Action": "*", "Resource": "*"}, {"Sid": "a", "Effect": "Allow", "Action": "*", "Resource": "*"}`,
	} {
		if err := New().Attach("AKID", `{"Version": "2012-10-17", "Statement": [`+statement+`]}`); err == nil {
			t.Errorf("%.100s is taken", statement)
		}
	}
}

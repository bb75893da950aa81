package vaulttest

import (
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	s := Start(t)
	for mount, doc := range map[string]string{
		"secret": `{"key":"v","number":9007199254740991}`, // KV v2 reads numbers as 64-bit floats
		"kv1":    `{"key":"v","number":123456789012345678901234567890}`,
	} {
		if _, found := s.Read(t, mount, "a/b"); found {
			t.Errorf("%s: a new server holds something", mount)
		}
		s.Write(t, mount, "a/b", doc)
		if got, found := s.Read(t, mount, "a/b"); !found || got != doc {
			t.Errorf("%s holds %q", mount, got)
		}
		if got := s.List(t, mount, ""); len(got) != 1 || got[0] != "a/b" {
			t.Errorf("%s lists %q", mount, got)
		}
		s.Delete(t, mount, "a/b")
		if _, found := s.Read(t, mount, "a/b"); found {
			t.Errorf("%s: deleted and still there", mount)
		}
	}
	token := s.Token(t, time.Minute, "default")
	s.Seal(t)
	if _, err := s.Client(t, token).Auth().Token().LookupSelf(); err == nil {
		t.Error("a sealed server answers")
	}
	s.Unseal(t)
	if _, err := s.Client(t, token).Auth().Token().LookupSelf(); err != nil {
		t.Error(err)
	}
	s.Revoke(t, token)
	if _, err := s.Client(t, token).Auth().Token().LookupSelf(); err == nil {
		t.Error("a revoked token is accepted")
	}
}

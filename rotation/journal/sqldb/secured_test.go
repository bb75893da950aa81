package sqldb

import (
	"context"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"rotator/internal/testenv/postgrestest"
)

// TestSecuredPostgres: a server that takes nothing but TLS, a client's certificate and a password. Nothing is asked of
// the environment, and a password that was changed on the server is used for the next connection.
func TestSecuredPostgres(t *testing.T) {
	t.Parallel()
	server := postgrestest.StartSecured(t)
	with := func(params url.Values, key, value string) string {
		if params.Set(key, value); value == "" {
			params.Del(key)
		}
		return server.Address(params)
	}
	whole := func(password string) string { return with(server.TLS(), "password", password) }
	for name, address := range map[string]string{
		"no password":              server.Address(server.TLS()),
		"another password":         whole("hunter2"),
		"no certificate":           with(url.Values{"sslmode": {"require"}}, "password", server.FirstPassword),
		"no TLS":                   with(url.Values{"sslmode": {"disable"}}, "password", server.FirstPassword),
		"another authority":        strings.Replace(whole(server.FirstPassword), url.QueryEscape(server.CA), url.QueryEscape(server.OtherCA), 1),
		"a file that is not there": strings.Replace(whole(server.FirstPassword), url.QueryEscape(server.CA), "/none", 1),
	} {
		if db, err := Open(t.Context(), address, Options{}); err == nil {
			t.Errorf("%s: it opened", name)
			_ = db.Close()
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), server.FirstPassword) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}

	var now atomic.Pointer[string]
	set := func(password string) { address := whole(password); now.Store(&address) }
	set(server.FirstPassword)
	refused := make(chan string, 100)
	db := openWith(t, *now.Load(), Options{
		Address: func(context.Context) (string, error) { return *now.Load(), nil },
		Refused: func(address string) { refused <- address },
	})
	pool := db.engine.(*postgresDB).pool
	pool.SetMaxIdleConns(0) // each transaction makes a connection
	setPolicies(t, db, "a")
	server.Say(t, "ALTER ROLE "+postgrestest.Role+" PASSWORD 'second'")
	if _, err := db.Load(t.Context(), "a"); err == nil {
		t.Error("the server still takes the first password")
	}
	if address := <-refused; address != whole(server.FirstPassword) {
		t.Errorf("%s is told as refused", address)
	}
	set("second")
	if _, err := db.Load(t.Context(), "a"); err != nil {
		t.Errorf("with the password as it is now: %v", err)
	}
}

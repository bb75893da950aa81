package transport

import (
	"net/url"
	"testing"
)

func TestPrivate(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://vault.example": true, "https://10.0.0.1": true, "http://localhost:8200": true, "http://127.0.0.1": true, "http://127.9.9.9:1": true,
		"http://[::1]:8200": true, "http://[::ffff:127.0.0.1]": true,
		"http://vault.example": false, "http://10.0.0.1": false, "http://localhost.evil.example": false, "http://127.0.0.1.evil.example": false,
		"http://0.0.0.0": false, "http://[::]": false, "http://2130706433": false, "http://127.1": false, "http://": false,
		"unix:///run/vault.sock": false, "ftp://127.0.0.1": false, "//127.0.0.1": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := Private(u); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

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

// TestAddress: one rule for the address of every server that a secret is sent to, and no word of it in the error.
func TestAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://vault.example:8200": "", "https://vault.example/base/": "", "http://127.0.0.1:1": "", "http://localhost": "", "http://[::1]:8200": "",
		"http://hunter2.example": "is not https", "http://10.0.0.1": "is not https", "http://localhost.evil.example": "is not https", "ftp://127.0.0.1": "is not https",
		"https://ann:hunter2@vault.example": "holds a user or a password", "https://hunter2@vault.example": "holds a user or a password",
		"https://vault.example?token=hunter2": "has a query or a fragment", "https://vault.example?": "has a query or a fragment",
		"https://vault.example#hunter2": "has a query or a fragment", "https://vault.example#": "has a query or a fragment",
		"": "is no absolute URL", "hunter2": "is no absolute URL", "/run/hunter2.sock": "is no absolute URL", "https://": "is no absolute URL", "https://hunter2\x7f": "is no absolute URL",
	} {
		u, err := Address(address)
		if want == "" && (err != nil || u.String() != address) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, %v, want %q", address, u, err, want)
		}
	}
	for address, good := range map[string]bool{"https://ann:pass@hooks.example/x?key=y": true, "http://127.0.0.1/x?key=y": true, "http://hooks.example/x": false, "x": false} {
		if _, err := Endpoint(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

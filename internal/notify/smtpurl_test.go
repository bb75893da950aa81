package notify

import (
	"fmt"
	"strings"
	"testing"
)

// TestAddressOfAMailServer: a password with characters that mean something in a URL is taken percent-encoded; otherwise the error says
// what to do, and neither it nor the addresses hold the password.
func TestAddressOfAMailServer(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"smtps://u%40h.example:p%40%2F%23%3F%25%3A@mail.example": "p@/#?%:",
		"smtps://u:canary@word@mail.example":                     "canary@word",
		"smtp://mail.example:25":                                 "",
		"smtps://u:canary/word@mail.example":                     "percent-encoded",
		"smtps://u:canary#word@mail.example":                     "percent-encoded",
		"smtps://u:canary?word@mail.example":                     "percent-encoded",
		"smtps://u:canary%zzword@mail.example":                   "percent-encoded",
		"smtps://u:canary word@mail.example":                     "percent-encoded",
		"smtps://u:canary\x00@mail.example":                      "percent-encoded",
		"smtps://u:12/34canary@mail.example":                     "percent-encoded",
		"smtps://u:12#34canary@mail.example":                     "percent-encoded",
		"smtps://u:12?34canary@mail.example":                     "percent-encoded",
		"smtps://u:canary@mail.example:587x":                     "percent-encoded",
		"smtps://u:canary@mail.example:99999":                    "port",
		"smtps://u:canary@mail.example:0":                        "port",
		"smtps://u:canary@":                                      "percent-encoded",
		"u:canary@mail.example":                                  "percent-encoded",
		"smtps://u:canary@mail.example?tls=no":                   "percent-encoded",
	} {
		s := &Email{SMTP: given(address), From: "rotator@example.com"}
		u, err := s.server(t.Context())
		if err != nil {
			if said := fmt.Sprint(err); !strings.Contains(said, want) || want == "" || strings.Contains(said, "canary") || strings.Contains(said, "34") {
				t.Errorf("%q: %v, want %q", address, err, want)
			}
			continue
		}
		if password, _ := u.User.Password(); password != want {
			t.Errorf("%q: password %q, want %q", address, password, want)
		}
		if _, err := s.client(u); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}

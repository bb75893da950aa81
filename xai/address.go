package xai

import (
	"fmt"
	"net/url"
	"strings"

	"rotator/internal/transport"
)

// baseURL checks an API's address: https, or http on loopback, because a plain request would be redirected and lose its
// bearer on the way, in the clear. The error does not quote it: an address may hold a password.
func baseURL(what, raw string) (string, error) {
	u, err := transport.Address(raw)
	if err != nil {
		return "", fmt.Errorf("the %s URL %w: want one such as https://host, or http:// on loopback", what, err)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// pathOf puts ids into a path pattern, escaped. An id that would change the path's shape is refused.
func pathOf(op, pattern string, id string) (string, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsFunc(id, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' || r == 0x7f }) {
		return "", &Error{Op: op, Class: ClassInvalid, Code: "id", Unsent: true}
	}
	return strings.Replace(pattern, "{id}", url.PathEscape(id), 1), nil
}

package xai

import (
	"fmt"
	"net/url"
	"strings"

	"rotator/internal/transport"
)

// baseURL checks an API's address: https, or http on loopback, because a plain request would be redirected and lose its
// bearer on the way, in the clear. The error names the host at most: an address may hold a password.
func baseURL(what, raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return "", fmt.Errorf("%s URL is not an absolute URL such as https://host", what)
	case u.User != nil:
		return "", fmt.Errorf("%s URL must not hold a user or password", what)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("%s URL must not have a query or fragment", what)
	case transport.Private(u):
		return strings.TrimRight(u.String(), "/"), nil
	}
	return "", fmt.Errorf("%s URL must be https (http only on loopback): host %s", what, u.Host)
}

// pathOf puts ids into a path pattern, escaped. An id that would change the path's shape is refused.
func pathOf(op, pattern string, id string) (string, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsFunc(id, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' || r == 0x7f }) {
		return "", &Error{Op: op, Class: ClassInvalid, Code: "id", Unsent: true}
	}
	return strings.Replace(pattern, "{id}", url.PathEscape(id), 1), nil
}

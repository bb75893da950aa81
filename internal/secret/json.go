package secret

import (
	"encoding/json"
	"errors"
)

// unquote decodes a JSON string (null is empty) and never quotes its input in an error.
func unquote(b []byte) (string, error) {
	var s *string
	if json.Unmarshal(b, &s) != nil {
		return "", errors.New("a secret must be a JSON string")
	}
	if s == nil {
		return "", nil
	}
	return *s, nil
}

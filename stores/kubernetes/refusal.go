package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"rotator/stores"
)

// refusal is an error in the API's own form. Its texts are safe to show: see shown.
type refusal struct {
	status  int
	kind    string // the resource that it is about
	reason  string // the API's word for it, such as Invalid
	message string
	fields  string // of the object, that it is about
}

// Error implements error.
func (r refusal) Error() string {
	if r.status == http.StatusNotFound && r.kind == "namespaces" {
		return "there is no such namespace (status 404)"
	}
	text := fmt.Sprintf("status %d", r.status)
	if r.reason != "" {
		text += " " + r.reason
	}
	if r.message != "" {
		text += ": " + r.message
	}
	if r.fields != "" {
		text += " (field " + r.fields + ")"
	}
	return text
}

// Unwrap gives the status its meaning. Too many requests and server errors have none: "not known".
func (r refusal) Unwrap() error {
	switch r.status {
	case http.StatusUnauthorized:
		return stores.ErrDenied
	case http.StatusForbidden:
		if r.admission() {
			return stores.ErrInvalid
		}
		return stores.ErrDenied
	case http.StatusConflict:
		return errMoved
	case http.StatusNotFound:
		if r.kind == "secrets" {
			return stores.ErrNotFound
		}
		return stores.ErrInvalid // the namespace, the workload or the API itself
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return stores.ErrInvalid
	}
	return nil
}

// admission reports whether a 403 is about the object and not about our rights: no Role would change it. The words are
// those of k8s.io/apiserver, for webhooks, policies and quotas.
func (r refusal) admission() bool {
	return slices.ContainsFunc([]string{"admission webhook ", "ValidatingAdmissionPolicy ", "exceeded quota: ", "insufficient quota "},
		func(words string) bool { return strings.Contains(r.message, words) })
}

// The bounds of what is shown of an answer, in characters.
const (
	maxMessage = 400
	maxField   = 80
	maxFields  = 5
)

// reasonForm is what the API's reasons look like.
var reasonForm = regexp.MustCompile(`^[A-Za-z]{1,64}$`)

// refused distinguishes a refusal of the API from that of a proxy in between, which says 404 and 403 too. The answer may quote
// the hidden values.
func refused(status int, content []byte, hidden []string) error {
	var said struct {
		Kind    string `json:"kind"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
		Details struct {
			Kind   string `json:"kind"`
			Causes []struct {
				Field string `json:"field"`
			} `json:"causes"`
		} `json:"details"`
	}
	if json.Unmarshal(content, &said) != nil || said.Kind != "Status" {
		return fmt.Errorf("status %d: %w", status, errUnreadable)
	}
	r := refusal{status: status, kind: said.Details.Kind, message: shown(said.Message, maxMessage, hidden)}
	if reasonForm.MatchString(said.Reason) {
		r.reason = said.Reason
	}
	var fields []string
	for _, cause := range said.Details.Causes {
		if f := shown(cause.Field, maxField, hidden); f != "" && !slices.Contains(fields, f) && len(fields) < maxFields {
			fields = append(fields, f)
		}
	}
	r.fields = strings.Join(fields, ", ")
	return r
}

// confidential is a request's body, with the values that no error may show although the answer may quote them.
type confidential struct {
	body   any
	hidden []string
}

// values are the bytes of a Secret's fields, to be hidden.
func values[V any](data map[string]V) (all []string) {
	for _, value := range data {
		if text, ok := any(value).([]byte); ok && len(text) > 0 {
			all = append(all, string(text))
		}
	}
	return all
}

const (
	hiddenText = "[hidden]"
	// Values shorter than leastHidden are not masked: they would match parts of ordinary words. Of longer ones every
	// piece of pieceHidden characters is masked.
	leastHidden = 4
	pieceHidden = 8
)

// What looks like key material, whether we know the value or not: keys of xAI, and what is long enough for a token or
// for something in base64. The longest word of the API in one piece is ValidatingAdmissionPolicyBinding.
var (
	keyForm  = regexp.MustCompile(`xai-[0-9A-Za-z_-]{4,}`)
	longForm = regexp.MustCompile(`[0-9A-Za-z+/_=]{24,}`)
)

// shown makes a foreign text safe for an error or a page: hidden values and anything that looks like key material are
// masked, control characters are replaced, and it is cut to limit characters.
func shown(text string, limit int, hidden []string) string {
	const enough = 8 // times the limit, in bytes: what is cut off here would not be shown anyway
	text = text[:min(len(text), enough*limit)]
	text = mask(text, hidden)
	text = keyForm.ReplaceAllString(text, hiddenText)
	text = longForm.ReplaceAllStringFunc(text, func(run string) string {
		if strings.ContainsAny(run, "0123456789") || len(run) > 32 {
			return hiddenText
		}
		return run
	})
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > limit {
		text = strings.TrimSpace(string(runes[:limit])) + "…"
	}
	return text
}

// mask hides the values and their pieces, also in the base64 that the API writes them in.
func mask(text string, hidden []string) string {
	gone := make([]bool, len(text))
	for _, value := range hidden {
		for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
			if len(form) < leastHidden {
				continue
			}
			piece := min(pieceHidden, len(form))
			for i := 0; i+piece <= len(text); i++ {
				if strings.Contains(form, text[i:i+piece]) {
					for j := i; j < i+piece; j++ {
						gone[j] = true
					}
				}
			}
		}
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !gone[i]:
			b.WriteByte(text[i])
		case i == 0 || !gone[i-1]:
			b.WriteString(hiddenText)
		}
	}
	return b.String()
}

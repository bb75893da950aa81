package xai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// classify turns an answer that is not a success into an Error. The texts that it looks for are the only thing that
// tells some of xAI's answers apart; they are forgotten on return.
func classify(inference bool, status int, contentType string, raw []byte) *Error {
	a := parseRefusal(contentType, raw)
	e := &Error{Status: status, Code: a.slug()}
	if inference {
		e.Class = inferenceClass(status, a)
	} else {
		e.Class = managementClass(status, a)
	}
	switch {
	case e.Class == ClassRoute && (status == http.StatusMethodNotAllowed || status == http.StatusNotFound && !a.ours):
		e.Code = notOffered
	case a.wantsCertificate(status):
		e.Class, e.Code = ClassForbidden, needsCertificate
	case e.Class == ClassUnauthenticated && a.says("no-credentials", "no credentials"):
		e.Code = noCredentials
	}
	return e
}

// missingKey reports whether a body that came as a success is the Management API's "Cannot find API key".
func missingKey(raw []byte) bool {
	if len(raw) > 4096 {
		return false // a list; an error is short
	}
	a := parseRefusal("", raw)
	return a.json && (a.number != 0 || a.code != "") && a.says("cannot find api key")
}

func inferenceClass(status int, a refusal) Class {
	if class := commonClass(status, a); class != "" {
		return class
	}
	switch status {
	case 400:
		if a.ours && a.says("incorrect api key") {
			return ClassKeyUnknown
		}
	case 403:
		switch {
		case a.ours && a.says("api key") && a.says("is disabled"):
			return ClassKeyDisabled
		case a.says("endpoint is denied"), a.says("permission-denied"), a.says("permission denied"):
			return ClassACL
		}
		return ClassForbidden
	case 404:
		if a.says("model") {
			return ClassModel
		}
		return ClassRoute
	}
	return otherClass(status)
}

func managementClass(status int, a refusal) Class {
	// Only as a JSON error, whatever its status: a page that says so proves nothing.
	if a.json && (a.says("cannot find api key") || status == 404 && a.number == 5) {
		return ClassNotFound
	}
	if class := commonClass(status, a); class != "" {
		return class
	}
	switch status {
	case 403:
		return ClassForbidden
	case 404:
		return ClassRoute
	}
	return otherClass(status)
}

// otherClass separates the statuses by which a server says that it looked at the request and will have none of it from those
// that leave open what became of it: 409 and 499, which a gateway makes of "aborted" and "canceled", 407 of a proxy, and
// whatever no one has thought of.
func otherClass(status int) Class {
	switch status {
	case http.StatusBadRequest, http.StatusNotAcceptable, http.StatusGone, http.StatusLengthRequired,
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusExpectationFailed,
		http.StatusUnprocessableEntity, http.StatusPreconditionRequired, http.StatusRequestHeaderFieldsTooLarge,
		http.StatusUnavailableForLegalReasons:
		return ClassInvalid
	}
	return ClassUnavailable
}

// commonClass is what both APIs mean alike, or "".
func commonClass(status int, a refusal) Class {
	switch {
	case status == http.StatusNotImplemented && a.json: // xAI itself cannot do that, now or later
		return ClassInvalid
	case status >= 500 || status == 408 || status < 200:
		return ClassUnavailable
	case status < 400: // a redirect, which is never followed
		return ClassRoute
	case status == 429 && a.billing(), status == 402:
		return ClassBilling
	case status == 429:
		return ClassRateLimited
	case (status == 404 || status == 405) && !a.json:
		return ClassRoute
	case a.html, !a.ours && status == 401, !a.json && !a.empty && status == 403:
		return ClassUnavailable // someone between us and xAI speaks
	case status == 401:
		return ClassUnauthenticated
	case status == 403 && a.billing():
		return ClassBilling
	case status == 405:
		return ClassRoute
	}
	return ""
}

// refusal is an error answer in any of the shapes that were seen: {"code","error"}, {"code","message"}, OpenAI's
// {"error":{"message"}}, a page, or plain text.
type refusal struct {
	json, html, empty bool
	ours              bool   // JSON with an error in one of xAI's shapes
	number            int    // the code, when it is one
	code              string // the code, when it is a text
	text              string // all of it in lower case: codes were seen in prose
}

func parseRefusal(contentType string, raw []byte) refusal {
	raw = bytes.TrimSpace(raw)
	r := refusal{empty: len(raw) == 0, text: strings.ToLower(string(raw))}
	o, ok := body(raw).object()
	if !ok {
		r.html = strings.Contains(strings.ToLower(contentType), "html") || bytes.HasPrefix(raw, []byte("<"))
		return r
	}
	r.json = true
	nested, _ := body(o["error"]).object()
	r.number, r.code = readCode(o["code"])
	if r.number == 0 && r.code == "" {
		r.number, r.code = readCode(nested["code"])
	}
	r.ours = r.number != 0 || r.code != "" || o["error"] != nil
	r.text = ""
	for _, part := range []json.RawMessage{o["code"], o["error"], o["message"], nested["message"], nested["code"]} {
		var s string
		if json.Unmarshal(part, &s) == nil {
			r.text += strings.ToLower(s) + "\n"
		}
	}
	return r
}

func readCode(raw json.RawMessage) (int, string) {
	var n int
	var s string
	switch {
	case json.Unmarshal(raw, &n) == nil:
		return n, ""
	case json.Unmarshal(raw, &s) == nil:
		n, _ = strconv.Atoi(s)
		return n, s
	}
	return 0, ""
}

// says reports whether one of texts is in it.
func (r refusal) says(texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(r.text, s) })
}

// wantsCertificate reports whether the refusal is for want of a client certificate: a 403 of xAI, or what nginx says.
func (r refusal) wantsCertificate(status int) bool {
	switch status {
	case 400, 403, 495, 496:
		return r.says("client certificate", "ssl certificate", "mtls") && !r.says("incorrect api key")
	}
	return false
}

func (r refusal) billing() bool {
	return r.says("credits") || r.says("spending limit") || r.says("licenses yet")
}

// slug returns the code when it is a number or a few lower-case words without digits, so that no part of a key, an id or
// a message can be in it.
func (r refusal) slug() string {
	switch {
	case r.number > 0 && r.number < 1000:
		return strconv.Itoa(r.number)
	case len(r.code) <= 48 && slugForm.MatchString(r.code) && !strings.Contains(r.code, "xai"):
		return r.code
	}
	return ""
}

var slugForm = regexp.MustCompile(`^[a-z]{1,20}([-_:.][a-z]{1,20}){0,4}$`)

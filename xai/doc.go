// Package xai is a client of xAI's two HTTP APIs: the Management API, which makes and unmakes API keys and is called with
// a management key, and the inference API, which is called with an API key and here only proves that the key works.
//
// # What callers can rely on
//
// Every error is an [*Error] whose [Class] says what it means; xAI's texts are matched in this package alone and never
// kept. Requests go to https, or to loopback; redirects are refused because they would lose or leak the bearer; answers
// are bounded, and so is the time of every call.
//
// GET, PUT and DELETE are tried again a few times within seconds, and only for what may pass by itself. A POST never is:
// after a create whose answer was lost, another one would make a second key. [OutcomeUnknown] tells such an end from a
// definite refusal, and what to do about it is the caller's business.
//
// # What is known of the APIs
//
// Facts come from xAI's public reference (https://docs.x.ai) and from captured traffic. Lists were seen with acl_strings
// where other answers have aclStrings, and with "false" where others have false, so both are read everywhere. That
// disabled and expireTime can be set by an update, the status of "Cannot find API key", and usage by key are likely but
// unconfirmed.
package xai

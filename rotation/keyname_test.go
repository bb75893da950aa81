package rotation

import "testing"

func TestKeyName(t *testing.T) {
	t.Parallel()
	const id = "01961f1c-9a5e-7c3b-8f00-0123456789ab"
	for name, want := range map[string]string{ // → the policy; "" is no name of ours
		"rotator-chat-" + id:                      "chat",
		"rotator-chat-prod-" + id:                 "chat-prod",
		"rotator-" + id + "-" + id:                id,
		"rotator-a.b_c-" + id:                     "a.b_c",
		"":                                        "",
		"rotator-":                                "",
		"rotator-" + id:                           "",
		"rotator--" + id:                          "",
		"rotator-chat" + id:                       "",
		"rotator-chat-" + id + " ":                "",
		"rotator-chat-" + id[1:]:                  "",
		"Rotator-chat-" + id:                      "",
		"my-rotator-chat-" + id:                   "",
		"rotator-chat-" + id[:35] + "B":           "", // not as we write it
		"rotator-chat-" + id[:14] + "4" + id[15:]: "", // of another version
		"rotator-chat-forged":                     "",
	} {
		policy, attempt, ok := keyName(name)
		if ok != (want != "") || ok && (policy != want || attempt != id) {
			t.Errorf("%q is a key of %q, attempt %q, %t; want %q", name, policy, attempt, ok, want)
		}
	}
}

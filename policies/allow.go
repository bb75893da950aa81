package policies

import "strings"

// Folder is a folder of policies, and what those who write it may do.
type Folder struct {
	// Dir is the folder; the folders below it belong to it.
	Dir string
	// Name is how the configuration names it, such as "policies[1]". Problems name the rule that refuses by it.
	Name string
	// Editors is the group that may write the folder beside root and this process's user; "": nobody else.
	Editors string
	// Allow is all that its policies may do. Nil: everything.
	Allow *Allow
}

// Allow is all that the policies of a folder may do: what no list names is refused. A number that is nil bounds nothing.
// In lists a * stands for any characters; "*" alone is everything.
type Allow struct {
	Teams []string
	// Stores are the paths of targets, by store. There a * stands for any characters but '/', except as the last part, where it is
	// everything below. A pattern may name the field too, after a '#'.
	Stores map[string][]string
	// ACLs are what key.acls may name. A right with a * of its own is named by a pattern that has a * there.
	ACLs []string
	// Labels are the values that each label may have.
	Labels map[string][]string
	// Hooks are those that policies may name.
	Hooks []string
	// Adopt lets policies take over keys that they did not make.
	Adopt bool
	// MinOverlap and MinSoak are the least of retire.overlap and retire.soak. MaxAgeAtMost is the most of max_age, which must be
	// given then. They hold for what is in effect, defaults included.
	MinOverlap, MinSoak, MaxAgeAtMost *Duration
	// FileModes are what targets[].mode may be; FileOwners and FileGroups are for owner and group.
	FileModes, FileOwners, FileGroups []string
	// Verify are the methods that may prove a key. Nil: chat, the default.
	Verify []string
}

// covers reports whether a pattern names a text: * stands for any characters, and nothing else is special. A * in the text is a
// character as any other, which only a * of the pattern names. So a pattern that names a text with a * names all that it stands for.
func covers(pattern, text string) bool {
	first, rest, some := strings.Cut(pattern, "*")
	if !some {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], next
	}
}

// coversAny reports whether one of the patterns names a text.
func coversAny(patterns []string, text string) bool {
	for _, p := range patterns {
		if covers(p, text) {
			return true
		}
	}
	return false
}

// coversPath is covers for paths: a * stays within one part of the path, and as the last part it is everything below. An ARN is
// a place of its own, in any account: only a pattern that begins as one names it.
func coversPath(pattern, path string) bool {
	if strings.HasPrefix(path, arnPrefix) != strings.HasPrefix(pattern, arnPrefix) {
		return false
	}
	if strings.HasPrefix(path, arnPrefix) {
		account, name, whole := strings.Cut(path, arnSecret)
		inAccount, named, some := strings.Cut(pattern, arnSecret)
		switch {
		case !whole || strings.Count(account, ":") != 4: // arn:PARTITION:SERVICE:REGION:ACCOUNT
			return false
		case !some:
			return covers(pattern, path)
		case !covers(inAccount, account):
			return false
		}
		path, pattern = name, named
	}
	parts := strings.Split(path, "/")
	patterns := strings.Split(pattern, "/")
	for i, p := range patterns {
		switch {
		case i == len(parts):
			return false
		case p == "*" && i == len(patterns)-1:
			return true
		case !covers(p, parts[i]):
			return false
		}
	}
	return len(parts) == len(patterns)
}

// A full name in AWS: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_iam-permissions.html
const (
	arnPrefix = "arn:"
	arnSecret = ":secret:"
)

// coversPlace reports whether a pattern, PATH or PATH#FIELD, names a field of a secret.
func coversPlace(pattern, path, field string) bool {
	if at := strings.LastIndexByte(pattern, '#'); at >= 0 {
		return coversPath(pattern[:at], path) && (pattern[at+1:] == "*" || field != "" && covers(pattern[at+1:], field))
	}
	return coversPath(pattern, path)
}

// plainPlace reports whether a path is written in the one way in which its store names the place, so that a pattern that matches
// the text matches the place. The path was found valid for its store's type before. Where a store stages the keys of others, beside their
// secrets, no target is.
func plainPlace(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.HasSuffix(part, ".rotator") {
			return false
		}
	}
	return true
}

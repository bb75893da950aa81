package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rotator/policies"
)

// Kubernetes is the Secrets of a cluster: by default of the one that this process is a pod of, where nothing more is needed.
type Kubernetes struct {
	Type string `yaml:"type"`
	// Server is the address of the API server. Default: that of the pod's own cluster.
	Server string `yaml:"server"`
	// Token is a reference to one of a service account, read before each call; required with server. Default: the pod's own.
	Token Reference `yaml:"token"`
	// CACert is a file with the authorities that the server's certificate may be of. Default: the pod's own; with server, the
	// system's.
	CACert string `yaml:"ca_cert"`
	// ServerName is the name in the server's certificate, where it is not the address's.
	ServerName string `yaml:"server_name"`
	// Timeout of one call. Default: 10s.
	Timeout policies.Duration `yaml:"timeout"`
	// Labels of Secrets that are created: targets that are not there yet, and the Secrets beside targets. Default: none.
	Labels Pairs `yaml:"labels"`
	// Annotations of the same Secrets. Default: none.
	Annotations Pairs `yaml:"annotations"`
}

// Pairs are labels or annotations of Kubernetes: names and their texts, which may be empty.
type Pairs map[string]string

// pairs decodes labels or annotations. What names may be of, checkPairs knows.
func (d *decoder) pairs(n *yaml.Node, to *Pairs, path string) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.fail(n, path+" is "+kind(n)+", not names and their texts", path+": {NAME: TEXT}")
		return
	}
	*to = Pairs{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, text := resolve(n.Content[i]), resolve(n.Content[i+1])
		_, twice := (*to)[name.Value]
		switch {
		case name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge":
			d.fail(n.Content[i], "a name in "+path+" is "+kind(name), "a plain name")
		case twice:
			d.fail(n.Content[i], "a name in "+path+" is given twice", "it once")
		case text.Kind != yaml.ScalarNode || text.ShortTag() != "!!str":
			d.fail(n.Content[i+1], "a value in "+path+" is "+kind(text)+", not text", "text, in quotes where it looks like something else")
		case policies.HoldsKey(text.Value) || policies.HoldsKey(name.Value):
			d.fail(n.Content[i+1], path+policies.KeyPasted, policies.KeyPastedWant)
		default:
			(*to)[name.Value] = text.Value
		}
	}
}

func checkKubernetes(k *Kubernetes, dir string, at func(what, want string, path ...string)) {
	k.CACert = absolute(dir, k.CACert)
	switch {
	case k.Server == "" && (!k.Token.IsZero() || k.ServerName != ""):
		at("server is missing beside token or server_name", "server: https://HOST:6443, or neither: then the pod's own")
	case k.Server != "" && k.Token.IsZero():
		at("token is missing beside server", "token: file:PATH, of a service account")
	case k.Server != "" && insecure(k.Server) != "":
		at("server "+insecure(k.Server), "https://HOST:6443, or http:// on loopback", "server")
	}
	checkPairs("labels", k.Labels, at)
	checkPairs("annotations", k.Annotations, at)
}

// The forms and bounds of labels and annotations:
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set and
// https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set
var (
	pairPrefix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	pairName   = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
)

const (
	ownPrefix      = "rotator" // of the annotations that the store itself writes and reads
	maxPairPrefix  = 253
	maxAnnotations = 256 << 10 // bytes of all names and texts together
)

// checkPairs holds labels or annotations to what the API server takes.
func checkPairs(what string, pairs Pairs, at func(what, want string, path ...string)) {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		prefix, name, prefixed := strings.Cut(key, "/")
		if !prefixed {
			prefix, name = "", key
		}
		size += len(key) + len(pairs[key])
		switch {
		case prefix == ownPrefix:
			at(what+" has a name that begins with "+ownPrefix+"/, which is the store's own", "another name", what, key)
		case !pairName.MatchString(name) || prefixed && (len(prefix) > maxPairPrefix || !pairPrefix.MatchString(prefix)):
			at(what+" has a name that Kubernetes does not take", "NAME or PREFIX/NAME: a name of at most 63 letters, digits, '-', '_' and '.', a prefix such as example.com", what, key)
		case what == "labels" && pairs[key] != "" && !pairName.MatchString(pairs[key]):
			at(what+" has a text that Kubernetes does not take", "at most 63 letters, digits, '-', '_' and '.'", what, key)
		}
	}
	if size > maxAnnotations {
		at(what+" is longer than 256 KiB", "less: Kubernetes takes no more", what)
	}
}

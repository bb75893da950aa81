package config

import "rotator/policies"

// Kubernetes is the Secrets of a cluster: by default of the one that this process is a pod of.
type Kubernetes struct {
	Type       string            `yaml:"type"`
	Server     string            `yaml:"server"`      // https; default: the pod's own cluster
	Token      Reference         `yaml:"token"`       // of a service account, required with server; default: the pod's own
	CACert     string            `yaml:"ca_cert"`     // default: the pod's own, or the system's authorities with server
	ServerName string            `yaml:"server_name"` // in the server's certificate, where it is not the address's
	Timeout    policies.Duration `yaml:"timeout"`     // of one call: 10s
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
}

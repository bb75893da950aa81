package config

import "rotator/policies"

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

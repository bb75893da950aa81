package config

import "rotator/policies"

// Store is one store of secrets: exactly one of Vault, AWS, File and Kubernetes is set, as Type says.
type Store struct {
	Type       string // vault, aws, file or kubernetes
	Vault      *Vault
	AWS        *AWS
	File       *File
	Kubernetes *Kubernetes
}

// Vault is a KV engine of HashiCorp Vault or OpenBao.
type Vault struct {
	Type          string            `yaml:"type"`
	Address       string            `yaml:"address" jsonschema:"required"` // https, or http on loopback
	Namespace     string            `yaml:"namespace"`
	Mount         string            `yaml:"mount"`          // default secret
	KVVersion     int               `yaml:"kv_version"`     // 1 or 2; default: asked of the server
	StagingPrefix string            `yaml:"staging_prefix"` // default: beside each secret
	Timeout       policies.Duration `yaml:"timeout"`        // of one call
	Auth          VaultAuth         `yaml:"auth" jsonschema:"required"`
	TLS           VaultTLS          `yaml:"tls"`
}

// VaultAuth is how the daemon logs in.
type VaultAuth struct {
	Method   string    `yaml:"method" jsonschema:"required"` // token, approle, kubernetes or jwt
	Mount    string    `yaml:"mount"`                        // default: the method's name
	Role     string    `yaml:"role"`                         // kubernetes and jwt
	Token    Reference `yaml:"token"`                        // token
	RoleID   Value     `yaml:"role_id"`                      // approle: a name rather than a secret, or a reference
	SecretID Reference `yaml:"secret_id"`                    // approle, unless the role asks for none
	JWT      Reference `yaml:"jwt"`                          // jwt, and kubernetes; there default: the pod's own token
}

// VaultTLS are files for the connection, read when the store is made.
type VaultTLS struct {
	CACert     string `yaml:"ca_cert"`
	ClientCert string `yaml:"client_cert"`
	ClientKey  string `yaml:"client_key"`
	ServerName string `yaml:"server_name"`
}

// AWS is Secrets Manager in one region of one account. What is left out comes from the environment, as with AWS's own
// tools.
type AWS struct {
	Type       string     `yaml:"type"`
	Region     string     `yaml:"region"`
	Endpoint   string     `yaml:"endpoint"`
	Profile    string     `yaml:"profile"`
	AssumeRole AssumeRole `yaml:"assume_role"`
	KMSKeyID   string     `yaml:"kms_key_id"` // encrypts secrets that are created
}

// AssumeRole is an IAM role to assume first.
type AssumeRole struct {
	ARN         string `yaml:"arn" jsonschema:"required"`
	ExternalID  string `yaml:"external_id"`
	SessionName string `yaml:"session_name"`
}

// File is a folder of this machine.
type File struct {
	Type       string    `yaml:"type"`
	Dir        string    `yaml:"dir" jsonschema:"required"`
	Recipients []string  `yaml:"recipients"` // age public keys: what is written is encrypted to them
	Identity   Reference `yaml:"identity"`   // of an age identity that reads it back
	// Shared says that the folder is one for all replicas that share a PostgreSQL journal.
	Shared bool `yaml:"shared"`
}

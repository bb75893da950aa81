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
	Type string `yaml:"type"`
	// Address of the server; http only on loopback.
	Address string `yaml:"address" jsonschema:"required"`
	// Redirects are further addresses that a node may redirect to, such as each node's `api_addr`; no other redirect is followed. Default: none.
	Redirects []string `yaml:"redirects"`
	// Namespace that the engine and the login are in. Default: the root's.
	Namespace string `yaml:"namespace"`
	// Mount is where the engine is mounted. Default: secret.
	Mount string `yaml:"mount"`
	// KVVersion is 1 or 2. Default: asked of the server.
	KVVersion int `yaml:"kv_version"`
	// StagingPrefix is the path below which successors wait. Default: beside each secret, at `<path>.rotator/<attempt>`.
	StagingPrefix string `yaml:"staging_prefix"`
	// Timeout of one call. Default: 10s.
	Timeout policies.Duration `yaml:"timeout"`
	// Auth says how the daemon logs in.
	Auth VaultAuth `yaml:"auth" jsonschema:"required"`
	TLS  VaultTLS  `yaml:"tls"`
}

// VaultAuth is how the daemon logs in.
type VaultAuth struct {
	// Method of the login: token (renewed, and read again when it changes), approle, kubernetes or jwt.
	Method string `yaml:"method" jsonschema:"required"`
	// Mount of the method. Default: the method's name.
	Mount string `yaml:"mount"`
	// Role to log in to, with kubernetes and jwt.
	Role string `yaml:"role"`
	// Token is a reference, with token.
	Token Reference `yaml:"token"`
	// RoleID is a name rather than a secret, or a reference, with approle.
	RoleID Value `yaml:"role_id"`
	// SecretID is a reference, with approle, unless the role asks for none.
	SecretID Reference `yaml:"secret_id"`
	// JWT is a reference, with jwt and kubernetes. Default: with kubernetes, the pod's own token.
	JWT Reference `yaml:"jwt"`
}

// VaultTLS are files for the connection, read when the store is made.
type VaultTLS struct {
	// CACert is a file with the authorities that the server's certificate may be of. Default: the system's.
	CACert string `yaml:"ca_cert"`
	// ClientCert is a file with the certificate that the daemon shows.
	ClientCert string `yaml:"client_cert"`
	// ClientKey is the file with its key.
	ClientKey string `yaml:"client_key"`
	// ServerName is the name in the server's certificate, where it is not the address's.
	ServerName string `yaml:"server_name"`
}

// AWS is Secrets Manager in one region of one account. What is left out comes from the environment, as with AWS's own
// tools.
type AWS struct {
	Type string `yaml:"type"`
	// Region of the secrets. Default: as AWS's own tools find it.
	Region string `yaml:"region"`
	// Endpoint is another address to call, such as one inside of a private network; http only on loopback.
	Endpoint string `yaml:"endpoint"`
	// Profile of AWS's own files of configuration and credentials.
	Profile    string     `yaml:"profile"`
	AssumeRole AssumeRole `yaml:"assume_role"`
	// KMSKeyID is the key that encrypts secrets that are created. Default: AWS's own.
	KMSKeyID string `yaml:"kms_key_id"`
	// Tags of secrets that are created, as `{key, value}`. Default: none.
	Tags []AWSTag `yaml:"tags"`
}

// AWSTag is a tag of a secret.
type AWSTag struct {
	// Key of the tag.
	Key string `yaml:"key" jsonschema:"required"`
	// Value of the tag. Default: empty.
	Value string `yaml:"value"`
}

// AssumeRole is an IAM role to assume first.
type AssumeRole struct {
	// ARN of the role.
	ARN string `yaml:"arn" jsonschema:"required"`
	// ExternalID is what the role's trust asks for.
	ExternalID string `yaml:"external_id"`
	// SessionName is how CloudTrail calls the session. Default: rotator.
	SessionName string `yaml:"session_name"`
}

// File is a folder of this machine.
type File struct {
	Type string `yaml:"type"`
	// Dir is the folder. On a volume of its own: a folder in it and not its mount point, so that a volume that is not mounted is an error and not an empty store. Files are replaced, not written over: into a container goes the folder, since a file mounted alone stays the old one.
	Dir string `yaml:"dir" jsonschema:"required"`
	// Recipients are age public keys: what is written is encrypted to them. Default: nothing is encrypted.
	Recipients []string `yaml:"recipients"`
	// Identity is a reference to an age identity that reads it back, required with recipients.
	Identity Reference `yaml:"identity"`
	// Shared is true where, with a PostgreSQL journal, the folder is one for all replicas. Default: false.
	Shared bool `yaml:"shared"`
}

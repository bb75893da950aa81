// Command server runs the core of HashiCorp Vault for this project's tests: the real server, in memory, on loopback.
//
// It is a module of its own so that Vault's several hundred dependencies stay out of the product. The versions are
// those of the last Vault under the Mozilla Public License. It initializes and unseals itself, prints one line of JSON
// ([ready]) to stdout, and ends when its stdin is closed, so that it never outlives the test that started it.
// Nothing here is fit for production: the unseal key and the root token are printed.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	authjwt "github.com/hashicorp/vault-plugin-auth-jwt"
	authkubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/helper/metricsutil"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// ready is the line that tells the test where the server is.
type ready struct {
	Address   string `json:"address"` // http://127.0.0.1:port
	RootToken string `json:"root_token"`
	UnsealKey string `json:"unseal_key"` // hexadecimal; one share is enough
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "vault test server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	// Only errors, and only to stderr: the test shows them when it fails.
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: storage,
		LogicalBackends: map[string]logical.Factory{
			"kv": kv.Factory,
		},
		CredentialBackends: map[string]logical.Factory{
			"approle":    approle.Factory,
			"jwt":        authjwt.Factory,
			"kubernetes": authkubernetes.Factory,
		},
		BuiltinRegistry: noPlugins{},
		DisableMlock:    true,
		DefaultLeaseTTL: time.Hour,
		MaxLeaseTTL:     24 * time.Hour,
		RawConfig:       &server.Config{SharedConfig: &configutil.SharedConfig{DisableMlock: true}},
		MetricsHelper:   metricsutil.NewMetricsHelper(nil, false),
		Logger:          log,
	})
	if err != nil {
		return fmt.Errorf("start the core: %w", err)
	}
	defer func() { _ = core.Shutdown() }() // the storage goes with the process
	started, err := initialize(ctx, core)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	started.Address = "http://" + listener.Addr().String()
	web := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core:           core,
			ListenerConfig: &configutil.Listener{Type: "tcp", Address: listener.Addr().String(), TLSDisable: true},
		}),
		ReadHeaderTimeout: 10 * time.Minute, // a machine may stall
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	if err := json.NewEncoder(os.Stdout).Encode(started); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it, or dies
	_ = web.Close()
	<-served
	return nil
}

// initialize makes a fresh core usable, with one unseal key.
func initialize(ctx context.Context, core *vault.Core) (ready, error) {
	made, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{},
	})
	if err != nil {
		return ready{}, fmt.Errorf("initialize: %w", err)
	}
	key := made.SecretShares[0]
	if _, err := core.Unseal(key); err != nil {
		return ready{}, fmt.Errorf("unseal: %w", err)
	}
	if core.Sealed() {
		return ready{}, errors.New("still sealed after its only key")
	}
	return ready{RootToken: made.RootToken, UnsealKey: hex.EncodeToString(key)}, nil
}

// noPlugins is an empty registry: every backend of this server is named in its configuration.
type noPlugins struct{}

func (noPlugins) Contains(string, consts.PluginType) bool { return false }

func (noPlugins) Get(string, consts.PluginType) (func() (any, error), bool) { return nil, false }

func (noPlugins) Keys(consts.PluginType) []string { return nil }

func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}

func (noPlugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

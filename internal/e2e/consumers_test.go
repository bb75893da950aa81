package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"rotator/internal/secret"
	"rotator/xai"
)

// source reads a key as one kind of consumer does. "" means that there is none yet.
type source func(ctx context.Context) (string, error)

// consumers read and chat without pause, and remember every call that failed.
type consumers struct {
	inference   *xai.Inference
	calls, late atomic.Int64 // late: calls that this machine, not the rotator, delayed

	mu       sync.Mutex
	failures []string // guarded by mu
}

var errGone = errors.New("the key is gone")

// overlap is that of every policy whose keys are consumed here: for so long a key works on after it was replaced.
const overlap = 2 * time.Second

// consume lets one consumer for each source work until stop is called, which reports every failure. Stopping twice is
// fine. A consumer that never got a key fails as well.
func consume(t testing.TB, i *xai.Inference, sources map[string]source) (c *consumers, stop func()) {
	t.Helper()
	c = &consumers{inference: i}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for name, read := range sources {
		working.Go(func() { c.run(ctx, name, read) })
	}
	stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
		for i, f := range c.failures {
			if i == 10 {
				t.Errorf("and %d failures more", len(c.failures)-i)
				break
			}
			t.Error(f)
		}
		t.Logf("consumers: %d calls, %d failed, %d came too late", c.calls.Load(), len(c.failures), c.late.Load())
	})
	t.Cleanup(stop)
	return c, stop
}

// run uses a key as often as xAI answers. What a consumer was given it uses at once, once.
func (c *consumers) run(ctx context.Context, name string, read source) {
	had := false
	for ctx.Err() == nil {
		call := context.WithoutCancel(ctx) // a call that began also ends: only then it counts
		key, err := read(call)
		if err == nil && key == "" && !had {
			time.Sleep(10 * time.Millisecond) // before its first key a consumer has nothing to do
			continue
		}
		began := time.Now()
		if err == nil && key == "" {
			err = errGone
		}
		if err == nil {
			had = true
			err = c.inference.Chat(call, secret.New(key), model)
		}
		c.calls.Add(1)
		switch {
		case err == nil:
		case !errors.Is(err, errGone) && time.Since(began) > overlap/2: // what it read was good then
			c.late.Add(1)
		default:
			c.fail("I1: consumer of %s at %s: %v", name, began.Format("15:04:05.000"), err)
		}
	}
	if !had {
		c.fail("consumer of %s never found a key", name)
	}
}

func (c *consumers) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, fmt.Sprintf(format, args...))
}

// fromVault reads with Vault's own client and a token that may only read.
func (p *parts) fromVault(t testing.TB, path, field string) source {
	t.Helper()
	name := p.vault.Name("consumer")
	p.vault.Policy(t, name, fmt.Sprintf("path \"%s/data/%s\" { capabilities = [\"read\"] }", p.mount, path))
	kv := p.vault.Client(t, p.vault.Token(t, time.Hour, name)).KVv2(p.mount)
	return func(ctx context.Context) (string, error) {
		got, err := kv.Get(ctx, path)
		if err != nil && strings.Contains(err.Error(), "secret not found") {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		key, _ := got.Data[field].(string)
		return key, nil
	}
}

// fromAWS reads with AWS's own client.
func (p *parts) fromAWS(name, field string) source {
	client := secretsmanager.NewFromConfig(p.awsConfig())
	return func(ctx context.Context) (string, error) {
		got, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
		if err != nil {
			return "", err
		}
		return textOf([]byte(*got.SecretString), field)
	}
}

// fromFile reads a file, or a field of one.
func (p *parts) fromFile(name, field string) source {
	return func(context.Context) (string, error) {
		b, err := os.ReadFile(p.path("secrets", name))
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
		if err != nil || field == "" {
			return string(b), err
		}
		return textOf(b, field)
	}
}

func textOf(doc []byte, field string) (string, error) {
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		return "", err
	}
	key, _ := m[field].(string)
	return key, nil
}

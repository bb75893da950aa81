package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite"
)

// The bare loop: the calls that a rotation cannot do without and eight commits, in the shortest Go, without one thought
// of failure. It runs as a process of its own (this test binary with bareRole set), so that its CPU time is its own.

// bareRole is the variable with the loop's orders.
const bareRole = "ROTATOR_BENCH_BARE"

// pollPace is the pause between two questions for propagation: the engine's first.
const pollPace = 250 * time.Millisecond

type bareOrders struct {
	XAI, Key, Vault, Token, Journal string
	Names                           []string
	InFlight                        int
}

type bareLoop struct {
	bareOrders
	http *http.Client
	db   *sql.DB
}

func runBare() int {
	var l bareLoop
	err := json.Unmarshal([]byte(os.Getenv(bareRole)), &l.bareOrders)
	if err == nil {
		err = l.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (l *bareLoop) run() (err error) {
	l.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	l.db, err = sql.Open("sqlite", "file:"+l.Journal+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer func() { _ = l.db.Close() }()
	l.db.SetMaxOpenConns(1)
	if _, err := l.db.Exec("CREATE TABLE rotations (name TEXT, step INTEGER, note TEXT)"); err != nil {
		return err
	}
	var all errgroup.Group
	all.SetLimit(l.InFlight)
	for _, name := range l.Names {
		all.Go(func() error { return l.rotate(name) })
	}
	return all.Wait()
}

// rotate is one rotation from top to bottom, long because that is its point: nothing is factored, nothing is retried.
// After the first error it does nothing more.
func (l *bareLoop) rotate(name string) (err error) {
	step := 0
	commit := func() {
		if step++; err == nil {
			_, err = l.db.Exec("INSERT INTO rotations VALUES (?, ?, ?)", name, step, "a note of about the length of a row")
		}
	}
	call := func(method, url, header, value string, body, answer any) {
		if err == nil {
			err = l.call(method, url, header, value, body, answer)
		}
	}
	xai := func(key, method, path string, body, answer any) {
		call(method, l.XAI+path, "Authorization", "Bearer "+key, body, answer)
	}
	vault := func(method, path string, body, answer any) {
		call(method, l.Vault+path, "X-Vault-Token", l.Token, body, answer)
	}
	chat := func(key string) {
		xai(key, "POST", "/v1/chat/completions", map[string]any{"model": model, "max_tokens": 1,
			"messages": []any{map[string]any{"role": "user", "content": "ping"}}}, nil)
	}
	var held struct {
		Data struct {
			Data     map[string]any
			Metadata struct{ Version int }
		}
	}
	commit()
	vault("GET", "/data/llm/"+name, nil, &held)
	commit()
	var made struct{ APIKeyID, APIKey string }
	xai(l.Key, "POST", "/auth/teams/"+team+"/api-keys", map[string]any{"name": name, "acls": []string{"api-key:model:grok-4", "api-key:endpoint:chat"}}, &made)
	commit()
	vault("PUT", "/data/llm/"+name+".rotator/new", map[string]any{"data": map[string]any{"value": made.APIKey}}, nil)
	commit()
	for all := false; !all && err == nil; {
		var p struct{ ICPropagation map[string]bool }
		xai(l.Key, "GET", "/auth/api-keys/"+made.APIKeyID+"/propagation", nil, &p)
		all = len(p.ICPropagation) > 0
		for _, knows := range p.ICPropagation {
			all = all && knows
		}
		if !all {
			time.Sleep(pollPace)
		}
	}
	vault("GET", "/data/llm/"+name+".rotator/new", nil, &held)
	key, _ := held.Data.Data["value"].(string)
	for range 3 {
		xai(key, "GET", "/v1/api-key", nil, &struct{}{})
	}
	chat(key)
	commit()
	held.Data.Data = nil
	vault("GET", "/data/llm/"+name, nil, &held)
	commit()
	if err == nil {
		held.Data.Data["api_key"] = key
	}
	vault("PUT", "/data/llm/"+name, map[string]any{"data": held.Data.Data, "options": map[string]any{"cas": held.Data.Metadata.Version}}, nil)
	vault("GET", "/data/llm/"+name, nil, &held)
	chat(key)
	commit()
	vault("DELETE", "/metadata/llm/"+name+".rotator/new", nil, nil)
	commit()
	return err
}

func (l *bareLoop) call(method, url, header, value string, body, answer any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(context.Background(), method, url, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	r.Header.Set(header, value)
	got, err := l.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = got.Body.Close() }()
	b, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", method, url, got.Status)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(b, answer)
	}
	return err
}

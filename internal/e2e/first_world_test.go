package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// answer does what a program that stands in for another was called for.
func (r *reader) answer(w http.ResponseWriter, q *http.Request) {
	var c call
	if err := json.NewDecoder(q.Body).Decode(&c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.did = append(r.did, strings.Join(c.Args, " "))
	r.mu.Unlock()
	stdout, err := r.act(c)
	o := outcome{Stdout: stdout}
	if err != nil {
		o.Stderr, o.Code = err.Error()+"\n", 1
	}
	_ = json.NewEncoder(w).Encode(o)
}

func (r *reader) act(c call) (stdout string, err error) {
	switch c.Args[0] {
	case "vault":
		return r.actVault(c)
	case "aws":
		document, _ := strings.CutPrefix(c.Args[len(c.Args)-1], "file://")
		content, err := os.ReadFile(r.path(document))
		return "", errors.Join(err, r.aws.Attach("AKIDMACHINE", string(content)))
	case "systemctl":
		return "", r.actService(c.Args[1])
	case "systemd-run", "kubectl":
		return r.actOurs(c.Args)
	case "install":
		return r.actInstall(c)
	}
	return "", nil // apt-get and helm: the binary is here already
}

// actVault is the part of Vault's command line that the page uses.
func (r *reader) actVault(c call) (string, error) {
	words := slices.DeleteFunc(slices.Clone(c.Args[1:]), func(a string) bool { return a == "-f" })
	field := ""
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-field=") }); i >= 0 {
		field = strings.TrimPrefix(words[i], "-field=")
		words = slices.Delete(words, i, i+1)
	}
	switch strings.Join(words[:2], " ") {
	case "policy write":
		return "", r.vault.Root().Sys().PutPolicy(words[2], c.Stdin)
	case "auth enable":
		return "", nil // every server here has it
	}
	data := map[string]any{}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		data[name] = value
	}
	answer, err := r.vault.Root().Logical().Write(words[1], data)
	if err != nil || field == "" {
		return "", err
	}
	text, _ := answer.Data[field].(string)
	return text, nil
}

// actService starts and stops the daemon, as the service manager does with its unit.
func (r *reader) actService(verb string) error {
	if verb == "stop" {
		r.daemon.terminate(r.t)
		return nil
	}
	if err := r.passCredentials(); err != nil {
		return err
	}
	r.daemon = launch(r.t, r.path("log"), append(r.env, "CREDENTIALS_DIRECTORY="+r.path("credentials")), "run", "--config", r.path("etc/rotator/rotator.yaml"))
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // as Type=notify: ready means listening
		if _, err := os.Stat(r.path("run/rotator/rotator.sock")); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the daemon does not get ready")
		}
	}
}

// passCredentials is LoadCredential=rotator:FOLDER, of which each file is the credential rotator_NAME.
func (r *reader) passCredentials() error {
	entries, err := os.ReadDir(r.path("etc/rotator/credentials"))
	for _, e := range entries {
		content, readErr := os.ReadFile(r.path("etc/rotator/credentials", e.Name()))
		err = errors.Join(err, readErr, os.WriteFile(r.path("credentials", "rotator_"+e.Name()), content, 0o600))
	}
	return err
}

// actOurs runs the rotator that another program was to run: with the service's credentials, or in a pod.
func (r *reader) actOurs(args []string) (string, error) {
	i := slices.Index(args[1:], "rotator") + 1
	if args[0] == "kubectl" {
		i = slices.Index(args, "--") + 1
	}
	if i == 0 || slices.Equal(args[i+1:], []string{"rotate", "chat-prod"}) { // the one above is still live
		return "", nil
	}
	if err := r.passCredentials(); err != nil {
		return "", err
	}
	command := exec.Command(r.path("bin/rotator"), args[i+1:]...)
	command.Dir, command.Env = r.dir, append(r.env, "CREDENTIALS_DIRECTORY="+r.path("credentials"))
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return string(out), errors.New(err.Error() + "\n" + stderr.String())
	}
	return string(out), nil
}

// actInstall is install(1), without giving the file to a user who need not be here.
func (r *reader) actInstall(c call) (string, error) {
	words := slices.Clone(c.Args[1:])
	for _, flag := range []string{"-o", "-g", "-m"} {
		if i := slices.Index(words, flag); i >= 0 {
			words = slices.Delete(words, i, i+2)
		}
	}
	from, to := words[0], words[1]
	content := []byte(c.Stdin)
	if from != "/dev/stdin" {
		var err error
		if content, err = os.ReadFile(from); err != nil {
			return "", err
		}
	}
	return "", errors.Join(os.RemoveAll(to), os.WriteFile(to, content, 0o600))
}

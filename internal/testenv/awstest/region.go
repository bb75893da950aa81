package awstest

import (
	"fmt"
	"maps"
	"slices"
)

// Region is one region seen from the inside: what an operator would do there with other tools. Its methods panic when
// the secret that they are about does not exist or AWS would refuse, since a test that does so is wrong.
type Region struct {
	s    *Server
	name string
}

// Region returns the named region, "eu-west-1" and so on.
func (s *Server) Region(name string) Region { return Region{s, name} }

// Put makes text the current value of a secret, creating it when it is absent, and returns the version's id.
func (r Region) Put(name, text string) string {
	return r.put(name, content{Text: &text})
}

// PutBinary is Put for a value of bytes.
func (r Region) PutBinary(name string, b []byte) string {
	return r.put(name, content{Binary: b})
}

// PutLabel adds a version under a label of its own and returns the version's id.
func (r Region) PutLabel(name, text, label string) string {
	return r.put(name, content{Text: &text}, label)
}

func (r Region) put(name string, c content, labels ...string) string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if _, err := r.s.lookup(r.name, name); err != nil {
		must(r.s.createSecret(r.name, &request{Name: name}))
	}
	r.s.created++
	id := fmt.Sprintf("00000000-0000-4000-9000-%012d", r.s.created)
	must(r.s.putSecretValue(r.name, &request{SecretID: name, content: c, ClientRequestToken: id, VersionStages: labels}))
	return id
}

// CreateEmpty creates a secret that has no value.
func (r Region) CreateEmpty(name string) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	must(r.s.createSecret(r.name, &request{Name: name}))
}

// Move moves a label to a version, from whichever has it; to "" removes it.
func (r Region) Move(name, label, to string) {
	r.with(name, func(sec *secret) {
		from := ""
		if v := sec.holder(label); v != nil {
			from = v.id
		}
		if err := sec.stage(label, to, from); err != nil {
			panic(err)
		}
	})
}

// Delete schedules the secret's deletion.
func (r Region) Delete(name string) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	must(r.s.deleteSecret(r.name, &request{SecretID: name}))
}

// SetRotation turns AWS's own rotation of the secret on or off.
func (r Region) SetRotation(name string, on bool) {
	r.with(name, func(sec *secret) { sec.rotates = on })
}

// SetReplicaOf makes the secret a replica of the one in region primary.
func (r Region) SetReplicaOf(name, primary string) {
	r.with(name, func(sec *secret) { sec.primary = primary })
}

// SetOwner makes the secret one that another AWS service manages.
func (r Region) SetOwner(name, service string) {
	r.with(name, func(sec *secret) { sec.owner = service })
}

// Value returns the text under a label; false when there is no such secret, label or text.
func (r Region) Value(name, label string) (string, bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	sec, err := r.s.lookup(r.name, name)
	if err != nil {
		return "", false
	}
	v := sec.holder(label)
	if v == nil || v.content.Text == nil {
		return "", false
	}
	return *v.content.Text, true
}

// Labels returns which version has each label: label → version id. A secret that is absent has none.
func (r Region) Labels(name string) map[string]string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	labels := map[string]string{}
	if sec, err := r.s.lookup(r.name, name); err == nil {
		for _, v := range sec.versions {
			for _, l := range v.labels {
				labels[l] = v.id
			}
		}
	}
	return labels
}

// Versions returns the ids of all versions, the oldest first, also of those without labels.
func (r Region) Versions(name string) []string {
	var ids []string
	r.with(name, func(sec *secret) {
		for _, v := range sec.versions {
			ids = append(ids, v.id)
		}
	})
	return ids
}

// Reap removes every version that has no label, as AWS may at any time.
func (r Region) Reap(name string) {
	r.with(name, func(sec *secret) {
		sec.versions = slices.DeleteFunc(sec.versions, func(v *version) bool { return len(v.labels) == 0 })
	})
}

// ARN returns the secret's full ARN.
func (r Region) ARN(name string) (arn string) {
	r.with(name, func(sec *secret) { arn = sec.arn })
	return arn
}

// KMSKey returns the KMS key that the secret was created with.
func (r Region) KMSKey(name string) (key string) {
	r.with(name, func(sec *secret) { key = sec.kmsKey })
	return key
}

// Tags returns the secret's tags.
func (r Region) Tags(name string) (tags map[string]string) {
	r.with(name, func(sec *secret) { tags = maps.Clone(sec.tags) })
	return tags
}

func (r Region) with(name string, f func(*secret)) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	sec, err := r.s.lookup(r.name, name)
	if err != nil {
		panic(err)
	}
	f(sec)
}

func must(_ any, err error) {
	if err != nil {
		panic(err)
	}
}

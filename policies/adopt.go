package policies

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Adopt says whether a policy takes over the key that its targets hold at first contact. In a file it is true, false, or
// {key_id: ID}; in JSON it is the same.
type Adopt struct {
	On bool
	// KeyID is the only key that is taken over; "": the one that xAI says the targets hold.
	KeyID string
}

// Takes reports whether the policy takes over the key of that id where a target holds it.
func (a Adopt) Takes(keyID string) bool { return a.On && (a.KeyID == "" || a.KeyID == keyID) }

var (
	adoptType = reflect.TypeFor[Adopt]()
	keyIDForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
)

const adoptWant = "true, false, or {key_id: ID} with the id that xAI's console shows"

// adoptOf is what a policy adopts by its form: a mapping, else a truth value.
type adoptOf struct {
	KeyID string `json:"key_id" yaml:"key_id"`
}

// MarshalJSON implements json.Marshaler.
func (a Adopt) MarshalJSON() ([]byte, error) { return json.Marshal(a.form()) }

// MarshalYAML implements yaml.Marshaler.
func (a Adopt) MarshalYAML() (any, error) { return a.form(), nil }

func (a Adopt) form() any {
	if a.KeyID != "" {
		return adoptOf{a.KeyID}
	}
	return a.On
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Adopt) UnmarshalJSON(data []byte) error {
	if strings.HasPrefix(string(data), "{") {
		var of adoptOf
		err := json.Unmarshal(data, &of)
		*a = Adopt{On: true, KeyID: of.KeyID}
		return err
	}
	a.KeyID = ""
	return json.Unmarshal(data, &a.On)
}

// adopt decodes the key of that name.
func (d *decoder) adopt(n *yaml.Node, v reflect.Value, path string) {
	var a Adopt
	switch n.Kind {
	case yaml.ScalarNode:
		d.scalar(n, reflect.ValueOf(&a.On).Elem(), path)
	case yaml.MappingNode:
		if len(n.Content) != 2 || resolve(n.Content[0]).Value != "key_id" {
			d.fail(n, path, path+" is a mapping with other keys than key_id", adoptWant)
			return
		}
		id := resolve(n.Content[1])
		d.scalar(id, reflect.ValueOf(&a.KeyID).Elem(), path+".key_id")
		if a.KeyID != "" && !keyIDForm.MatchString(a.KeyID) {
			d.fail(id, path, path+".key_id"+quoted(id)+" is no id of a key", adoptWant)
			return
		}
		a.On = a.KeyID != ""
	default:
		d.fail(n, path, path+" is "+article(n)+", not true or false", adoptWant)
		return
	}
	v.Set(reflect.ValueOf(a))
}

package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rotator/policies"
)

// Policies are the folders of policies. In the file it is a folder that may do everything, or a list of folders with limits.
type Policies []PolicyFolder

// PolicyFolder is a folder of policies, and what they may do.
type PolicyFolder struct {
	// Dir is the folder; the folders below it are read too. No folder of the list lies in another one.
	Dir string `yaml:"dir" jsonschema:"required"`
	// Editors may write the folder, besides root and the daemon's user; only with allow. Default: no one.
	Editors Editors `yaml:"editors"`
	// AdoptedKeys says which targets must have been read before a key that a policy of this folder adopted is disabled or deleted,
	// since each may hold it: those of all policies (all), or those of this folder's (this_folder). A target that is known to hold the
	// key counts in any case. Default: all.
	AdoptedKeys string `yaml:"adopted_keys" jsonschema:"enum=all,enum=this_folder"`
	// Allow is all that the folder's policies may do: what it does not name is refused. Default: they may do everything.
	Allow *Allow `yaml:"allow"`
}

// Editors is a group of this machine.
type Editors struct {
	// Group whose members may write the folder and what is in it, by name or number.
	Group string `yaml:"group" jsonschema:"required"`
}

// Allow is all that the policies of a folder may do. In its lists a * stands for any characters, and "*" is everything.
type Allow struct {
	// Teams that policies may name. Default: none.
	Teams []string `yaml:"teams"`
	// Stores that targets may be in, and their paths there: PATH, or PATH#FIELD. A * stays within one part of the path; as the last part it
	// is everything below. Default: none.
	Stores map[string][]string `yaml:"stores"`
	// ACLs that key.acls may name, such as "api-key:model:grok-4*". A right that ends in * itself needs a pattern with a * there.
	// Default: none.
	ACLs []string `yaml:"acls"`
	// Labels that policies may have, and the values of each, such as {tier: [dev]}. Default: none; a policy needs no label.
	Labels Values `yaml:"labels"`
	// Hooks that policies may name. Default: none.
	Hooks []string `yaml:"hooks"`
	// Adopt lets policies take over keys that they did not make. Default: false.
	Adopt bool `yaml:"adopt"`
	// MinOverlap is the least of retire.overlap, which is 24h where a policy does not say. Default: any.
	MinOverlap *policies.Duration `yaml:"min_overlap"`
	// MinSoak is the least of retire.soak, which is 24h where a policy does not say. Default: any.
	MinSoak *policies.Duration `yaml:"min_soak"`
	// MaxAgeAtMost is the most of max_age, which each policy then has to give. Default: any, and none.
	MaxAgeAtMost *policies.Duration `yaml:"max_age_at_most"`
	// FileModes that targets[].mode may be. Default: none; without a mode a file keeps its own, and a new one has 0600.
	FileModes []string `yaml:"file_modes" jsonschema:"pattern=^0?[0-7]{3}$"`
	// FileOwners that targets[].owner may be, as the policy writes them. Default: none.
	FileOwners []string `yaml:"file_owners"`
	// FileGroups that targets[].group may be, as the policy writes them. Default: none.
	FileGroups []string `yaml:"file_groups"`
	// Verify are the methods that may prove a key. Default: chat, as in policies.
	Verify []string `yaml:"verify" jsonschema:"enum=chat,enum=models,enum=whoami"`
}

// Values are names of the user's own, and texts that each may have.
type Values map[string][]string

// The words of adopted_keys.
const (
	AllFolders = "all"
	ThisFolder = "this_folder"
)

// Dirs are the folders.
func (p Policies) Dirs() []string {
	dirs := make([]string, len(p))
	for i, f := range p {
		dirs[i] = f.Dir
	}
	return dirs
}

// AdoptedWithin says of which policies, by their files, the targets must have been read before a key is disabled or deleted that a policy
// of this file adopted. Nil: of all.
func (p Policies) AdoptedWithin(file string) (within func(file string) bool) {
	for _, f := range p {
		if f.AdoptedKeys == ThisFolder && below(file, f.Dir) {
			return func(other string) bool { return below(other, f.Dir) }
		}
	}
	return nil
}

// String names the folders.
func (p Policies) String() string { return strings.Join(p.Dirs(), ", ") }

// PolicyFolders are the folders as policies are loaded from them.
func (c *Config) PolicyFolders() []policies.Folder {
	all := make([]policies.Folder, len(c.Policies))
	for i, f := range c.Policies {
		all[i] = policies.Folder{Dir: f.Dir, Name: fmt.Sprintf("policies[%d]", i), Editors: f.Editors.Group}
		if a := f.Allow; a != nil {
			all[i].Allow = &policies.Allow{Teams: a.Teams, Stores: a.Stores, ACLs: a.ACLs, Labels: a.Labels, Hooks: a.Hooks, Adopt: a.Adopt,
				MinOverlap: a.MinOverlap, MinSoak: a.MinSoak, MaxAgeAtMost: a.MaxAgeAtMost,
				FileModes: a.FileModes, FileOwners: a.FileOwners, FileGroups: a.FileGroups, Verify: a.Verify}
		}
	}
	return all
}

// policies decodes one folder or a list of them.
func (d *decoder) policies(n *yaml.Node, to *Policies, path string) {
	if n.Kind != yaml.ScalarNode {
		var list []PolicyFolder
		d.value(n, reflect.ValueOf(&list).Elem(), path)
		*to = list
		return
	}
	var f PolicyFolder
	d.value(n, reflect.ValueOf(&f.Dir).Elem(), path)
	if f.Dir != "" {
		*to = Policies{f}
	}
}

// values decodes names and lists of texts. What names may be of, policies say.
func (d *decoder) values(n *yaml.Node, to *Values, path string) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.fail(n, path+" is "+kind(n)+", not names and the values of each", path+": {NAME: [VALUE, …]}")
		return
	}
	*to = Values{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := resolve(n.Content[i])
		_, twice := (*to)[name.Value]
		switch {
		case name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge" || policies.HoldsKey(name.Value):
			d.fail(n.Content[i], "a name in "+path+" is no plain word", "a plain name")
		case twice:
			d.fail(n.Content[i], "a name in "+path+" is given twice", "it once")
		default:
			var list []string
			of := path + " of one name"
			if wordForm.MatchString(name.Value) {
				of = path + "." + name.Value
			}
			d.value(n.Content[i+1], reflect.ValueOf(&list).Elem(), of)
			(*to)[name.Value] = list
		}
	}
}

// checkPolicies reports limits that name nothing, or could never hold.
func (d *decoder) checkPolicies(c *Config, root *yaml.Node) {
	n := find(root, "policies")
	for i := range c.Policies {
		f := &c.Policies[i]
		here, node := "policies", n
		if n.Kind == yaml.SequenceNode && i < len(n.Content) {
			here, node = fmt.Sprintf("policies[%d]", i), resolve(n.Content[i])
		}
		at := func(what, want string, path ...string) { d.fail(find(node, path...), here+"."+what, want) }
		for j, other := range c.Policies[:i] {
			if f.Dir != "" && other.Dir != "" && (below(f.Dir, other.Dir) || below(other.Dir, f.Dir)) {
				at(fmt.Sprintf("dir and policies[%d].dir lie in one another, or are the same", j), "folders beside each other: each file belongs to one", "dir")
			}
		}
		if f.AdoptedKeys != "" && f.AdoptedKeys != AllFolders && f.AdoptedKeys != ThisFolder {
			at("adopted_keys is neither all nor this_folder", "all or this_folder", "adopted_keys")
		}
		if f.Allow == nil {
			if f.Editors.Group != "" {
				at("editors is given without allow", "allow: what those who may write the folder may do", "editors")
			}
			continue
		}
		d.checkAllow(c, f.Allow, at)
	}
}

func below(path, of string) bool {
	return path == of || strings.HasPrefix(path, strings.TrimSuffix(of, "/")+"/")
}

var (
	rightForm = regexp.MustCompile(`^(\*|api-key:.*|.*\*.*)$`)
	modeForm  = regexp.MustCompile(`^0?[0-7]{3}$`)
)

func (d *decoder) checkAllow(c *Config, a *Allow, at func(what, want string, path ...string)) {
	known := func(what, name string, all []string) {
		if name != "*" && name != "" && !slices.Contains(all, name) {
			at("allow."+what+" names one that is not in this file", "one of "+strings.Join(all, ", ")+meant(name, all), "allow", what)
		}
	}
	for _, name := range a.Teams {
		if !strings.Contains(name, "*") {
			known("teams", name, slices.Sorted(maps.Keys(c.Teams)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Stores)) {
		known("stores", name, slices.Sorted(maps.Keys(c.Stores)))
		for _, p := range a.Stores[name] {
			path, _, _ := strings.Cut(p, "#")
			if path != "" && (strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || filepath.Clean(path) != path) {
				at("allow.stores."+name+" has a pattern that no path matches", "paths as policies write them, such as llm/search/*, without '.', '..' or a slash too many", "allow", "stores", name)
			}
		}
	}
	for _, right := range a.ACLs {
		if right != "" && !rightForm.MatchString(right) {
			at("allow.acls has a pattern that no right matches", `rights such as "api-key:model:grok-4*" or "api-key:endpoint:chat"`, "allow", "acls")
		}
	}
	for _, mode := range a.FileModes {
		if mode != "" && !modeForm.MatchString(mode) {
			at("allow.file_modes has one that is no mode", `three octal digits in quotes, such as "0640"`, "allow", "file_modes")
		}
	}
	methods := []string{policies.MethodChat, policies.MethodModels, policies.MethodWhoami}
	for _, method := range a.Verify {
		if method != "" && !slices.Contains(methods, method) {
			at("allow.verify has a method that is not known", "chat, models or whoami"+meant(method, methods), "allow", "verify")
		}
	}
	d.checkStars(a, at)
}

// checkStars refuses what other programs have in patterns: here it would be a character as any other.
func (d *decoder) checkStars(a *Allow, at func(what, want string, path ...string)) {
	for _, l := range []struct {
		key  string
		list []string
	}{{"teams", a.Teams}, {"acls", a.ACLs}, {"hooks", a.Hooks}, {"stores", slices.Concat(slices.Collect(maps.Values(a.Stores))...)},
		{"labels", slices.Concat(slices.Collect(maps.Values(a.Labels))...)}} {
		if slices.ContainsFunc(l.list, func(p string) bool { return strings.ContainsAny(p, "?[]{}\\") || strings.Contains(p, "**") }) {
			at("allow."+l.key+" has a pattern with ?, [, {, a backslash or **", "* for any characters: nothing else is special", "allow", l.key)
		}
	}
}

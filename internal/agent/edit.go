package agent

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Edit is a change of one field of an agentkit.yaml.
type Edit struct {
	// Field is the whole path, such as "launch_types.local.runtime_auth_type", or the
	// field's name alone: of common if it is one of common's, else of the block of the
	// file's launch type.
	Field string
	Value string // in YAML: a text, a list, a mapping
	Unset bool   // remove the field; Value has no meaning
}

// Change returns the text of an agentkit.yaml with edits made, one after the other.
// Comments and the order of what is there stay. A text that would not be a definition
// any more is the fault of [Parse], and so is one that was none and still is not;
// references to variables stand for themselves (see [Expand]).
func Change(text []byte, edits []Edit) ([]byte, error) {
	if _, err := document(text); err != nil {
		return nil, err
	}
	var doc yaml.Node // with the comments before and behind
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, malformed(err)
	}
	for _, e := range edits {
		if err := edit(doc.Content[0], e); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	if err := out.Encode(&doc); err != nil {
		return nil, err
	}
	changed := b.Bytes()
	if _, _, err := Shape(changed); err != nil {
		return nil, err
	}
	return changed, nil
}

// Shape is [Parse] for a text whose variables are not known yet.
func Shape(text []byte) (Definition, []Warning, error) {
	expanded, _, err := Expand(text, func(string) (string, bool) { return "https://variable.example", true })
	if err != nil {
		return Definition{}, nil, err
	}
	return Parse(expanded)
}

func edit(root *yaml.Node, e Edit) error {
	path := strings.Split(e.Field, ".")
	if len(path) == 1 {
		path = wholePath(root, e.Field)
	}
	at := root
	for i, key := range path {
		last := i == len(path)-1
		if key == "" || at.Kind != yaml.MappingNode {
			return fault.New(fault.Invalid, "agentkit_field", "%q is not a field of agentkit.yaml", name.Clip(e.Field, 80)).WithFix("name it as common.agent_name, or as agent_name")
		}
		k := indexOf(at, key)
		switch {
		case e.Unset && k < 0:
			return nil
		case e.Unset && last:
			at.Content = append(at.Content[:k], at.Content[k+2:]...)
			return nil
		case k < 0:
			at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
			at.Style &^= yaml.FlowStyle
			k = len(at.Content) - 2
		}
		if !last {
			if at = at.Content[k+1]; at.Tag == "!!null" {
				*at = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
			}
			continue
		}
		value, err := valueNode(e)
		if err != nil {
			return err
		}
		old := at.Content[k+1]
		value.LineComment, value.HeadComment, value.FootComment = old.LineComment, old.HeadComment, old.FootComment
		at.Content[k+1] = value
	}
	return nil
}

// wholePath finds out where a field belongs of which only the name is said.
func wholePath(root *yaml.Node, field string) []string {
	if _, ours := commonFields()[field]; ours && field != "runtime_envs" {
		return []string{"common", field}
	}
	launch := string(Cloud)
	if k := indexOf(root, "common"); k >= 0 {
		if l := indexOf(root.Content[k+1], "launch_type"); l >= 0 && root.Content[k+1].Content[l+1].Value != "" {
			launch = root.Content[k+1].Content[l+1].Value
		}
	}
	return []string{"launch_types", launch, field}
}

// indexOf returns where a key of a mapping is, or -1.
func indexOf(mapping *yaml.Node, key string) int {
	if mapping.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func valueNode(e Edit) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(e.Value), &doc); err != nil || len(doc.Content) > 1 || strings.Contains(e.Value, "\n") {
		return nil, fault.New(fault.Invalid, "agentkit_value", "the value of %s is not YAML in a line", name.Clip(e.Field, 80)).WithFix("quote it, or write a list as [a, b]")
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.AliasNode {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.Value, Style: yaml.DoubleQuotedStyle}, nil
	}
	return doc.Content[0], nil
}

// Set is a field of an agentkit.yaml that has a value.
type Set struct {
	Field string `json:"field"` // "common.agent_name"
	Value string `json:"value"` // in YAML; of environment variables, the names alone
	Note  string `json:"note,omitempty"`
}

// Fields returns what an agentkit.yaml says, field by field, in its order, with what
// [Parse] warns of.
func Fields(text []byte) ([]Set, error) {
	root, err := document(text)
	if err != nil {
		return nil, err
	}
	_, warnings, err := Shape(text)
	if err != nil {
		return nil, err
	}
	notes := map[string]string{}
	for _, w := range warnings {
		notes[w.Field] = w.Reason
	}
	var list []Set
	collect(root, "", func(field string, n *yaml.Node) error {
		value, err := inLine(n)
		if field[strings.LastIndexByte(field, '.')+1:] == "runtime_envs" {
			value, err = variables(n), nil
		}
		list = append(list, Set{field, value, notes[field]})
		return err
	}, &err)
	return list, err
}

// collect calls each with the fields of a mapping, and of those two that hold fields.
func collect(mapping *yaml.Node, path string, each func(string, *yaml.Node) error, failed *error) {
	for i := 0; i+1 < len(mapping.Content) && *failed == nil; i += 2 {
		field, n := path+mapping.Content[i].Value, follow(mapping.Content[i+1])
		if n.Kind == yaml.MappingNode && (field == "common" || field == "launch_types" || path == "launch_types.") {
			collect(n, field+".", each, failed)
			continue
		}
		*failed = each(field, n)
	}
}

func inLine(n *yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode {
		return n.Value, nil
	}
	plain := *n
	plain.Style, plain.HeadComment, plain.LineComment, plain.FootComment = yaml.FlowStyle, "", "", ""
	b, err := yaml.Marshal(&plain)
	return strings.Join(strings.Fields(string(b)), " "), err
}

// variables returns the names of environment variables: values may be secret.
func variables(n *yaml.Node) string {
	var names []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		names = append(names, n.Content[i].Value)
	}
	return fmt.Sprint(names)
}

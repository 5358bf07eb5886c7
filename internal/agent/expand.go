package agent

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deputy-id/deputy/internal/fault"
)

// reference is ${NAME} or ${NAME:-otherwise}; $$ is a dollar sign before a brace.
var reference = regexp.MustCompile(`\$\$\{|\$\{([^}]*)\}`)

// Expand replaces the references to variables in the values of an agentkit.yaml:
// ${NAME}, and ${NAME:-otherwise} for a variable that is not set or empty; $${ is
// a ${ that stays. lookup tells what a variable is. A variable that is not set is a
// fault of kind Invalid that names field and line. What replaces a reference is
// text, whatever it looks like: it cannot change the shape of the file.
//
// used are the variables that were looked up and found, sorted. A text without
// references comes back as it is.
func Expand(text []byte, lookup func(variable string) (value string, ok bool)) (expanded []byte, used []string, err error) {
	if !reference.Match(text) {
		return text, nil, nil
	}
	root, err := document(text)
	if err != nil {
		return nil, nil, err
	}
	found := map[string]bool{}
	if err := expand(root, found, lookup, 0); err != nil {
		return nil, nil, err
	}
	expanded, err = yaml.Marshal(root)
	return expanded, slices.Sorted(maps.Keys(found)), err
}

// maxNesting is deeper than any agentkit.yaml.
const maxNesting = 20

func expand(n *yaml.Node, found map[string]bool, lookup func(string) (string, bool), depth int) error {
	at := fmt.Sprintf("agentkit.yaml line %d", n.Line)
	if depth > maxNesting {
		return fault.New(fault.Invalid, "agentkit_invalid", "agentkit.yaml is nested more than %d deep", maxNesting).WithSource(at)
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue // a field's name
		}
		if err := expand(child, found, lookup, depth+1); err != nil {
			return err
		}
	}
	if n.Kind != yaml.ScalarNode || !reference.MatchString(n.Value) {
		return nil
	}
	var problem error
	n.Value = reference.ReplaceAllStringFunc(n.Value, func(ref string) string {
		if ref == "$${" {
			return "${"
		}
		variable, otherwise, optional := strings.Cut(ref[2:len(ref)-1], ":-")
		if !variableName.MatchString(variable) {
			problem = fault.New(fault.Invalid, "agentkit_reference", "a reference to a variable has no name").WithSource(at).WithFix("write ${NAME} or ${NAME:-otherwise}, and $${ for a ${ that stays")
			return ""
		}
		value, ok := lookup(variable)
		switch {
		case ok && (value != "" || !optional):
			found[variable] = true
			return value
		case optional:
			return otherwise
		}
		problem = fault.New(fault.Invalid, "agentkit_variable_missing", "the variable %s is not set", variable).WithSource(at).
			WithFix("set it in the environment or in the .env file beside agentkit.yaml, or give it a default as ${%s:-…}", variable)
		return ""
	})
	n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	return problem
}

// AddEnvironment puts variables among the runtime_envs that an agentkit.yaml has
// for all launch types, below all that it says itself. Those that the runtime sets,
// or that are about Deputy's own command, are left out, since a .env file has the
// settings of more than the agent. added are the names of the others, sorted.
func AddEnvironment(text []byte, variables Environment) (with []byte, added []string, err error) {
	root, err := document(text)
	if err != nil {
		return nil, nil, err
	}
	if root.Kind != yaml.MappingNode {
		return text, nil, nil // Parse says what is wrong
	}
	common := child(root, "common")
	if common == nil || follow(common).Kind != yaml.MappingNode {
		return text, nil, nil
	}
	common = follow(common)
	envs := child(common, "runtime_envs")
	if envs == nil || follow(envs).Kind != yaml.MappingNode {
		made := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		if envs == nil {
			common.Content = append(common.Content, quoted("runtime_envs"), made)
		} else if follow(envs).Kind == yaml.ScalarNode && follow(envs).ShortTag() == "!!null" {
			*envs = *made
			made = envs
		} else {
			return text, nil, nil
		}
		envs = made
	}
	envs = follow(envs)
	for _, variable := range variables.Names() {
		if reserved(variable) || child(envs, variable) != nil {
			continue
		}
		envs.Content = append(envs.Content, quoted(variable), quoted(variables[variable]))
		added = append(added, variable)
	}
	if len(added) == 0 {
		return text, nil, nil
	}
	with, err = yaml.Marshal(root)
	return with, added, err
}

func quoted(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: value}
}

// child returns the value of a field of a mapping, or nil.
func child(mapping *yaml.Node, field string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == field {
			return mapping.Content[i+1]
		}
	}
	return nil
}

package cli

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/dotenv"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
)

// definitionFile is where an agent's definition is.
const definitionFile = "agentkit.yaml"

// definition is what an agent is deployed as: its agentkit.yaml, with the
// variables of the environment and of the .env file beside it filled in. What it
// says itself comes first, then the environment, then the .env file.
type definition struct {
	agent.Definition
	text    []byte
	sources []sourced
	differ  []string // variables that the environment and the .env file have different values for
}

// sourced says where variables of the agent's environment come from.
type sourced struct {
	Source string   `json:"source"`
	Names  []string `json:"names"`
}

// readDefinition reads a definition and checks it, before the server does: what
// is wrong is told with its line.
func readDefinition(file string, environment func(string) (string, bool)) (definition, error) {
	text, err := readDefinitionText(file)
	if err != nil {
		return definition{}, err
	}
	return fillIn(text, file, environment)
}

// fillIn makes a definition of the text of file.
func fillIn(text []byte, file string, environment func(string) (string, bool)) (definition, error) {
	beside := filepath.Join(filepath.Dir(file), ".env")
	dot, err := dotenv.Read(beside)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return definition{}, fault.Wrap(err, fault.Invalid, "dotenv_unreadable", "the .env file beside %s cannot be read", definitionFile).WithSource(beside)
	}
	var d definition
	for _, variable := range slices.Sorted(maps.Keys(dot)) {
		if value, set := environment(variable); set && value != dot[variable] {
			d.differ = append(d.differ, variable)
			dot[variable] = value
		}
	}
	lookup := func(variable string) (string, bool) {
		if value, ok := environment(variable); ok {
			return value, true
		}
		value, ok := dot[variable]
		return value, ok
	}
	text, used, err := agent.Expand(text, lookup)
	if err != nil {
		return d, err
	}
	before, _, err := agent.Parse(text) // the warnings come from the server
	if err != nil {
		return d, err
	}
	var added []string
	if d.text, added, err = agent.AddEnvironment(text, dot); err != nil {
		return d, err
	}
	for source, names := range map[string][]string{definitionFile: before.Env.Names(), ".env": added, "filled in as ${…}": used} {
		if len(names) > 0 {
			d.sources = append(d.sources, sourced{source, names})
		}
	}
	slices.SortFunc(d.sources, func(a, b sourced) int { return len(b.Source) - len(a.Source) })
	d.Definition, _, err = agent.Parse(d.text)
	return d, err
}

func readDefinitionText(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, fault.NotFound, "definition_missing", "there is no agent's definition").WithSource(file).
			WithFix("name the directory that has an %s, or the file with --file", definitionFile)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "definition_unreadable", "the agent's definition cannot be read").WithSource(file)
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := wire.ReadAll(f, agent.MaxDefinition)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "definition_unreadable", "the agent's definition cannot be read").WithSource(file)
	}
	return text, nil
}

// Package scaffold writes the files of a new agent.
package scaffold

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/template"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

//go:embed templates
var templates embed.FS

// Template is what a new agent begins as.
type Template struct {
	Name        string
	What        string // in words
	entryPoint  string
	language    agent.Language
	files       []string // in templates/Name, with .txt behind
	executables []string // those of files that are programs
}

// Templates are all there are.
func Templates() []Template {
	return []Template{
		{"go", "an agent in Go, with the SDK", "main.go", agent.Golang, []string{"main.go", "go.mod"}, nil},
		{"python", "an agent in Python, with the standard library", "agent.py", agent.Python, []string{"agent.py"}, nil},
		{"command", "any executable file; a small one for Node to begin with", "agent", agent.Python, []string{"agent"}, []string{"agent"}},
	}
}

// Settings are those of a new agent.
type Settings struct {
	Template     string
	Name         string // of the agent
	Description  string
	DiscoveryURL string   // of the issuer whose users may talk to it
	Clients      []string // through which; empty: any
	SDKVersion   string   // of the Go template: a module version
	SDK          string   // of the Go template: a directory in place of the published module; may be empty
	Overwrite    bool     // files that are there
}

// Write writes the agent's files into dir, which is made if it is not there, and
// returns their names. It writes nothing if one of them is there already, or if
// what would be written is no definition; those are faults of kind Conflict and
// Invalid.
func Write(dir string, s Settings) ([]string, error) {
	all := Templates()
	i := slices.IndexFunc(all, func(t Template) bool { return t.Name == s.Template })
	if i < 0 {
		names := make([]string, len(all))
		for i, t := range all {
			names[i] = t.Name
		}
		return nil, fault.New(fault.Invalid, "template_unknown", "there is no template %q", name.Clip(s.Template, 40)).WithSource("--template").
			WithFix("%s", name.DidYouMean(s.Template, names, "use one of go, python and command"))
	}
	files, err := render(all[i], s)
	if err != nil {
		return nil, err
	}
	if _, _, err := agent.Parse(files[definition]); err != nil {
		return nil, err
	}
	var names []string
	for file := range files {
		names = append(names, file)
	}
	slices.Sort(names)
	if !s.Overwrite {
		for _, file := range names {
			if _, err := os.Lstat(filepath.Join(dir, file)); !errors.Is(err, fs.ErrNotExist) {
				return nil, fault.Wrap(err, fault.Conflict, "file_exists", "%s is there already, and nothing was written", filepath.Join(dir, file)).
					WithFix("choose another directory, or overwrite what is there with --force")
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // source code is no secret
		return nil, unwritable(err)
	}
	for _, file := range names {
		mode := os.FileMode(0o644)
		if slices.Contains(all[i].executables, file) {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, file), files[file], mode); err != nil { //nolint:gosec // see above
			return nil, unwritable(err)
		}
		if err := os.Chmod(filepath.Join(dir, file), mode); err != nil {
			return nil, unwritable(err)
		}
	}
	return names, nil
}

const definition = "agentkit.yaml"

func unwritable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "directory_unwritable", "the agent's files cannot be written").WithFix("choose a directory that you may write to")
}

func render(t Template, s Settings) (map[string][]byte, error) {
	if err := name.Check("agent", s.Name); err != nil {
		return nil, err
	}
	// In YAML every text may be written as in JSON.
	text := func(v string) string {
		b, _ := json.Marshal(v) // a string always can be
		return string(b)
	}
	values := struct {
		Settings
		EntryPoint, Description, DiscoveryURL string
		Language                              agent.Language
		Clients                               []string
	}{s, t.entryPoint, text(s.Description), text(s.DiscoveryURL), t.language, nil}
	for _, c := range s.Clients {
		values.Clients = append(values.Clients, text(c))
	}
	files := map[string][]byte{}
	for _, file := range append([]string{definition}, t.files...) {
		from := "templates/" + t.Name + "/" + file + ".txt"
		if file == definition {
			from = "templates/" + file + ".txt"
		}
		parsed, err := template.ParseFS(templates, from)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := parsed.Execute(&b, values); err != nil {
			return nil, err
		}
		files[file] = b.Bytes()
	}
	return files, nil
}

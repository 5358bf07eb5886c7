package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
)

// configCommand is deputy config.
type configCommand struct {
	Set    []string `arg:"" optional:"" help:"Fields and their values, such as language=Golang or runtime_jwt_allowed_clients='[web, phone]'; without any, what the file says." name:"field=value"`
	Unset  []string `help:"Field to remove. May be repeated." sep:"none" placeholder:"FIELD"`
	File   string   `help:"The definition; ${default} by default." default:"agentkit.yaml" placeholder:"FILE"`
	DryRun bool     `help:"Show the file as it would be, and change nothing."`
}

// Run implements kong's command.
func (c configCommand) Run(o output) error {
	text, err := readDefinitionText(c.File)
	if err != nil {
		return err
	}
	if len(c.Set) == 0 && len(c.Unset) == 0 {
		return c.show(o, text)
	}
	var edits []agent.Edit
	for _, s := range c.Set {
		field, value, ok := strings.Cut(s, "=")
		if !ok {
			return fault.New(fault.Invalid, "agentkit_field", "%q is not FIELD=VALUE", s).WithFix("write it as language=Golang")
		}
		edits = append(edits, agent.Edit{Field: field, Value: value})
	}
	for _, field := range c.Unset {
		edits = append(edits, agent.Edit{Field: field, Unset: true})
	}
	changed, err := agent.Change(text, edits)
	if err != nil {
		return err
	}
	if c.DryRun {
		_, err := o.out.Write(changed)
		return err
	}
	if err := replaceFile(c.File, changed); err != nil {
		return fault.Wrap(err, fault.Unavailable, "definition_unwritable", "%s cannot be written, and is as it was", c.File)
	}
	return o.print(map[string]any{"file": c.File, "changed": len(edits)}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is changed. It counts from the next: deputy launch\n", c.File)
		return err
	})
}

func (c configCommand) show(o output, text []byte) error {
	fields, err := agent.Fields(text)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, f := range fields {
		if err := o.print(f, func(io.Writer) error {
			note := ""
			if f.Note != "" {
				note = "! " + f.Note
			}
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\n", f.Field, f.Value, note)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// replaceFile puts new content in the place of a file, whole or not at all.
func replaceFile(path string, content []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone if all went well
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

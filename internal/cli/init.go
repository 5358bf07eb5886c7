package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/scaffold"
)

// initCommand is deputy init.
type initCommand struct {
	Dir          string   `arg:"" optional:"" help:"Directory to write into; this one by default." default:"."`
	Template     string   `help:"What to begin with: go, python or command; ${default} by default." default:"go" placeholder:"NAME"`
	Name         string   `help:"Name of the agent; that of the directory by default." placeholder:"NAME"`
	Description  string   `help:"What the agent does, in a line." placeholder:"TEXT"`
	DiscoveryURL string   `help:"Of the user pool whose users may talk to the agent; ${default} by default." name:"discovery-url" default:"http://localhost:8080/userpool/default/.well-known/openid-configuration" placeholder:"URL"`
	Client       []string `help:"Client id of an application through which they may; any of the pool if none is given. May be repeated." sep:"none" placeholder:"ID"`
	SDK          string   `help:"Of an agent in Go: a clone of Deputy's source, in place of the published module." name:"sdk" placeholder:"DIR"`
	Force        bool     `help:"Overwrite files that are there."`
}

// Run implements kong's command.
func (i initCommand) Run(o output) error {
	dir, err := filepath.Abs(i.Dir)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "directory_unwritable", "the directory %q cannot be found", i.Dir)
	}
	s := scaffold.Settings{
		Template: i.Template, Name: i.Name, Description: i.Description, DiscoveryURL: i.DiscoveryURL, Clients: i.Client, SDKVersion: "v0.0.0", Overwrite: i.Force,
	}
	if s.Name == "" {
		s.Name = strings.ToLower(filepath.Base(dir))
	}
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		s.SDKVersion = info.Main.Version
	}
	if s.SDK, err = sdkDirectory(i.SDK); err != nil {
		return err
	}
	files, err := scaffold.Write(dir, s)
	if err != nil {
		return err
	}
	made := struct {
		Directory string   `json:"directory"`
		Files     []string `json:"files"`
	}{dir, files}
	return o.print(made, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "The agent %s is in %s: %s\nNext: deputy launch %s\n", s.Name, dir, strings.Join(files, ", "), i.Dir)
		return err
	})
}

// sdkDirectory checks that a directory is a clone of Deputy's source.
func sdkDirectory(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	abs, err := filepath.Abs(dir)
	if err == nil {
		_, err = os.Stat(filepath.Join(abs, "sdk", "agent.go"))
	}
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "sdk_missing", "there is no SDK in %s", dir).WithSource("--sdk").WithFix("name a clone of Deputy's source")
	}
	return abs, nil
}

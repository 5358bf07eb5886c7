package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/deputy-id/deputy/internal/dev"
	"github.com/deputy-id/deputy/internal/fault"
)

// devCommand is deputy dev.
type devCommand struct {
	Data          string   `help:"Directory for everything that is kept, ${default} by default." default:".deputy-dev" placeholder:"DIR"`
	Dir           string   `help:"The agent's directory, with its agentkit.yaml if it has one; this one by default." default:"." placeholder:"DIR"`
	Listen        string   `help:"Address of the identity service, ${default} by default." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
	IngressListen string   `help:"Address of the runtime's ingress, ${default} by default." default:"127.0.0.1:8090" placeholder:"HOST:PORT"`
	AgentListen   string   `help:"Address that the agent listens on, ${default} by default." default:"127.0.0.1:8000" placeholder:"HOST:PORT"`
	AllowOutbound []string `help:"Private address that may be reached: host:port, IP or CIDR. May be repeated." placeholder:"ADDR"`
	Vendors       string   `help:"File of further third parties, or of changed ones; see docs/vendors.md." placeholder:"FILE"`
	Command       []string `arg:"" optional:"" passthrough:"" help:"Command that starts the agent, behind --; without it, start the agent elsewhere."`
}

// Run implements kong's command.
func (d devCommand) Run(ctx context.Context, o output) error {
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_directory", "the directory %q cannot be found", d.Dir).WithSource("--dir")
	}
	file := filepath.Join(dir, definitionFile)
	text, err := readDefinitionText(file)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	command := d.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	return dev.Run(ctx, dev.Config{
		Data: d.Data, Dir: dir, Listen: d.Listen, IngressListen: d.IngressListen, AgentListen: d.AgentListen, AllowOutbound: d.AllowOutbound, Vendors: d.Vendors, Command: command,
		Text: text,
		Fill: func(text []byte) ([]byte, error) {
			filled, err := fillIn(text, file, os.LookupEnv)
			return filled.text, err
		},
		Version: version(), In: os.Stdin, Out: o.out, ErrOut: o.err, Environment: os.Environ(),
	})
}

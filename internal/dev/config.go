package dev

import (
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Config says what is developed, and where.
type Config struct {
	Data          string   // directory for everything that is kept from one run to the next
	Dir           string   // the agent's own directory
	Listen        string   // the identity service, on loopback
	IngressListen string   // the runtime's ingress, on loopback
	AgentListen   string   // where the agent is to listen, on loopback
	AllowOutbound []string // private addresses that may be reached; see package outbound
	Vendors       string   // file of further vendors; "" for the built-in ones alone
	// Command starts the agent; empty: its developer starts it elsewhere.
	Command []string

	// Text is the agent's agentkit.yaml, and Fill fills in the variables of one; Text is empty if there is none.
	Text []byte
	Fill func(text []byte) ([]byte, error)

	Version     string
	In          io.Reader // of the command
	Out, ErrOut io.Writer // of the command, and of what is told: that goes to ErrOut
	Environment []string  // of the command, besides what Deputy adds
}

// complete checks c and fills in what follows.
func (c *Config) complete() error {
	ports := map[string]string{}
	for _, l := range []struct{ flag, address string }{{"--listen", c.Listen}, {"--ingress-listen", c.IngressListen}, {"--agent-listen", c.AgentListen}} {
		host, port, err := net.SplitHostPort(l.address)
		if ip := net.ParseIP(host); err != nil || port == "" || port == "0" || ip == nil || !ip.IsLoopback() {
			return fault.New(fault.Invalid, "listen_invalid", "%q is no place for development", name.Clip(l.address, 80)).WithSource(l.flag).
				WithFix("give a loopback address with a port, such as 127.0.0.1:8080: whoever reaches it may do everything")
		}
		if other := ports[port]; other != "" {
			return fault.New(fault.Invalid, "listen_invalid", "%s and %s cannot share port %s", other, l.flag, port).WithSource(l.flag).WithFix("give each its own port")
		}
		ports[port] = l.flag
	}
	return c.makeData()
}

// makeData makes a data directory that only its owner may enter, and that no
// version control takes in.
func (c *Config) makeData() (err error) {
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return fault.Wrap(err, fault.Invalid, "data_missing", "the data directory has no absolute path").WithSource("--data")
	}
	ignore := filepath.Join(c.Data, ".gitignore")
	if err = os.MkdirAll(c.Data, 0o700); err == nil {
		err = os.WriteFile(ignore, []byte("# Keys and passwords for development.\n*\n"), 0o600)
	}
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "data_unwritable", "the data directory %s cannot be written to", c.Data).WithSource("--data").
			WithFix("choose a directory that you may write to")
	}
	return nil
}

// defaultDefinition is what an agent without an agentkit.yaml is: reachable in
// every way.
const defaultDefinition = `common:
  agent_name: agent
  entry_point: agent
  language: Python
  launch_type: local
launch_types:
  local:
    runtime_paths: {invoke: /invoke, websocket: /ws, a2a: /, mcp: /mcp}
`

// define returns the agent's definition as it is for development: with the
// login, the keys and the users that there are here, in place of those that it has.
func (c *Config) define(discoveryURL, sessionClient string) ([]byte, error) {
	text := c.Text
	if len(text) == 0 {
		text = []byte(defaultDefinition)
	}
	edits := []agent.Edit{
		{Field: "runtime_auth_type", Value: "[custom_jwt, key_auth, pool_session]"},
		{Field: "runtime_jwt_discovery_url", Value: discoveryURL},
		{Field: "runtime_session_client", Value: sessionClient},
	}
	for _, field := range []string{"allowed_clients", "allowed_audiences", "required_scopes", "required_claims"} {
		edits = append(edits, agent.Edit{Field: "runtime_jwt_" + field, Unset: true})
	}
	text, err := agent.Change(text, edits)
	if err != nil {
		return nil, err
	}
	return c.Fill(text)
}

// agentName returns the agent's name.
func (c *Config) agentName() (string, error) {
	if len(c.Text) == 0 {
		return "agent", nil
	}
	d, _, err := agent.Shape(c.Text)
	return d.Name, err
}

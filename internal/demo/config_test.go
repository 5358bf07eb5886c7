package demo

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/freeport"
)

// freePorts returns a configuration with ports that are free now.
func freePorts(t *testing.T) Config {
	t.Helper()
	var c Config
	addresses := []*string{&c.Listen, &c.IngressListen, &c.ChatListen, &c.SandboxListen}
	ports, err := freeport.Find(len(addresses))
	if err != nil {
		t.Fatal(err)
	}
	for i, address := range addresses {
		*address = net.JoinHostPort("127.0.0.1", ports[i])
	}
	c.Data, c.Examples = filepath.Join(t.TempDir(), "new"), filepath.Join("..", "..", "examples")
	return c
}

func TestComplete(t *testing.T) {
	c := freePorts(t)
	c.Examples = "" // found from here upwards
	if _, err := c.complete(); err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(c.Examples) || !filepath.IsAbs(c.Data) || c.Executable == "" {
		t.Errorf("%+v", c)
	}
	c.Data = ""
	remove, err := c.complete()
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.Data); !os.IsNotExist(err) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
}

// TestCompleteRefuses: each problem names the flag that solves it.
func TestCompleteRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change     func(*Config)
		code, flag string
		mentions   string
	}{
		"a port that is taken":      {func(c *Config) { c.ChatListen = busy.Addr().String() }, "listen_failed", "--chat-listen", "the chat application"},
		"one port for two":          {func(c *Config) { c.SandboxListen = c.Listen }, "listen_invalid", "--sandbox-listen", "the identity service"},
		"all interfaces":            {func(c *Config) { c.Listen = "0.0.0.0:8080" }, "listen_invalid", "--listen", "the identity service"},
		"no address":                {func(c *Config) { c.IngressListen = "here" }, "listen_invalid", "--ingress-listen", "ingress"},
		"any port":                  {func(c *Config) { c.Listen = "127.0.0.1:0" }, "listen_invalid", "--listen", "the identity service"},
		"examples elsewhere":        {func(c *Config) { c.Examples = open }, "examples_missing", "--examples", open},
		"a file as data":            {func(c *Config) { c.Data = file }, "data_unwritable", "--data", file},
		"data that others may read": {func(c *Config) { c.Data = open }, "data_exposed", "--data", open},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := freePorts(t)
			test.change(&c)
			_, err := c.complete()
			f := fault.As(err)
			if f == nil || f.Code != test.code || f.Source != test.flag || f.Fix == "" || !strings.Contains(f.Message, test.mentions) {
				t.Errorf("got %#v", f)
			}
		})
	}
}

func TestChildEnvironment(t *testing.T) {
	got := childEnvironment([]string{"PATH=/bin", "DEPUTY_DATABASE=postgres://x", "DEPUTY_ROOT_KEY=k", "OAUTH2_CLIENT_ID=x", "AGENT_NAME=x", "CHAT_LISTEN=x", "FEISHU_API_BASE=x", "GOCACHE=/c"})
	if diff := cmp.Diff([]string{"PATH=/bin", "GOCACHE=/c"}, got); diff != "" {
		t.Error(diff)
	}
}

package demo

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Config says where the demo's parts are. All of them listen on loopback.
type Config struct {
	Data          string // directory for everything; "" is a fresh one, removed at the end
	Listen        string // the identity service; "" is 127.0.0.1:8080
	IngressListen string // the runtime's ingress; "" is 127.0.0.1:8090
	ChatListen    string // the chat application; "" is 127.0.0.1:8082
	SandboxListen string // the Feishu sandbox; "" is 127.0.0.1:8083
	Examples      string // directory of the examples; "" is the one of the module that the working directory is in
	Executable    string // the deputy program; "" is the one that is running
	Example       string // of [ExampleNames]; "" is the tutorial's own agent, with its chat application
	Headless      bool   // play the users too, and check every step

	Out io.Writer // what the demo tells; required
}

// part is a process of the demo and where it listens.
type part struct{ what, flag, address string }

func (c *Config) parts() []part {
	return []part{
		{"the identity service", "--listen", c.Listen}, {"the runtime's ingress", "--ingress-listen", c.IngressListen},
		{"the chat application", "--chat-listen", c.ChatListen}, {"the Feishu sandbox", "--sandbox-listen", c.SandboxListen},
	}
}

// complete fills in what follows from the rest and checks what can be checked
// before anything is started. It returns what removes a directory that it made.
func (c *Config) complete() (remove func() error, err error) {
	keep := func() error { return nil }
	for _, d := range []struct{ field, value *string }{
		{&c.Listen, new("127.0.0.1:8080")}, {&c.IngressListen, new("127.0.0.1:8090")},
		{&c.ChatListen, new("127.0.0.1:8082")}, {&c.SandboxListen, new("127.0.0.1:8083")},
	} {
		if *d.field == "" {
			*d.field = *d.value
		}
	}
	if err := c.checkPorts(); err != nil {
		return keep, err
	}
	if c.Examples, err = findExamples(c.Examples); err != nil {
		return keep, err
	}
	if c.Executable == "" {
		if c.Executable, err = os.Executable(); err != nil {
			return keep, fault.Wrap(err, fault.Unavailable, "executable_unknown", "the deputy program cannot be found")
		}
	}
	if c.Data == "" {
		if c.Data, err = os.MkdirTemp("", "deputy-demo-*"); err != nil {
			return keep, fault.Wrap(err, fault.Unavailable, "data_unwritable", "no temporary directory can be made").
				WithSource("--data").WithFix("name a directory that you may write to, or set TMPDIR")
		}
		dir := c.Data
		return func() error { return os.RemoveAll(dir) }, nil
	}
	c.Data, err = makeData(c.Data)
	return keep, err
}

// makeData makes a data directory that only its owner may enter.
func makeData(dir string) (string, error) {
	bad := func(err error, code, what, fix string) error {
		return fault.Wrap(err, fault.Invalid, code, "the data directory %s %s", dir, what).WithSource("--data").WithFix("%s", fix)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", bad(err, "data_unwritable", "has no absolute path", "change to a directory that exists")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", bad(err, "data_unwritable", "cannot be made", "choose a directory that you may write to")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", bad(err, "data_unwritable", "cannot be read", "choose a directory that you may write to")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", bad(nil, "data_exposed", "may be read by others, and passwords and keys will be in it", "run: chmod 700 "+dir)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return "", bad(err, "data_unwritable", "cannot be written to", "check its owner, its rights and the free space")
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return "", bad(err, "data_unwritable", "cannot be written to", "check its owner, its rights and the free space")
	}
	return dir, nil
}

// checkPorts makes sure that every part can have its port, before the first one
// is started.
func (c *Config) checkPorts() error {
	taken := map[string]part{}
	for _, p := range c.parts() {
		host, port, err := net.SplitHostPort(p.address)
		ip := net.ParseIP(host)
		if err != nil || port == "" || port == "0" || ip == nil || !ip.IsLoopback() {
			return fault.New(fault.Invalid, "listen_invalid", "%s cannot listen on %q", p.what, name.Clip(p.address, 80)).WithSource(p.flag).
				WithFix("give a loopback address with a port, such as 127.0.0.1:8080: the demo's passwords are made for this machine")
		}
		if other, double := taken[port]; double {
			return fault.New(fault.Invalid, "listen_invalid", "%s and %s cannot share port %s", other.what, p.what, port).WithSource(p.flag).
				WithFix("give each its own port")
		}
		taken[port] = p
		l, err := net.Listen("tcp", p.address)
		if err != nil {
			return portError(err, p)
		}
		if err := l.Close(); err != nil {
			return portError(err, p)
		}
	}
	return nil
}

func portError(err error, p part) error {
	f := fault.Wrap(err, fault.Unavailable, "listen_failed", "%s cannot listen on %s", p.what, p.address).WithSource(p.flag)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return f.WithFix("another program uses this port: stop it, or choose another port with %s", p.flag)
	case errors.Is(err, syscall.EACCES):
		return f.WithFix("ports below 1024 need special rights: choose another port with %s", p.flag)
	default:
		return f.WithFix("check the address")
	}
}

// agentDirectory is where the sample agent is, in the examples.
const agentDirectory = "feishu-doc-agent"

// findExamples returns the absolute path of the directory of the examples.
func findExamples(given string) (string, error) {
	if given != "" {
		dir, err := filepath.Abs(given)
		if err == nil {
			_, err = os.Stat(filepath.Join(dir, agentDirectory, "agentkit.yaml"))
		}
		if err != nil {
			return "", fault.Wrap(err, fault.Invalid, "examples_missing", "there is no %s/agentkit.yaml in %s", agentDirectory, given).WithSource("--examples").
				WithFix("name the directory examples of Deputy's source")
		}
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "examples_missing", "the working directory is gone").WithSource("--examples")
	}
	for {
		examples := filepath.Join(dir, "examples")
		if _, err := os.Stat(filepath.Join(examples, agentDirectory, "agentkit.yaml")); err == nil {
			return examples, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fault.New(fault.Invalid, "examples_missing", "the sample agent's source is not here: the demo builds it before your eyes").WithSource("--examples").
				WithFix("run the demo inside a clone of Deputy's source, or name its directory examples")
		}
		dir = parent
	}
}

// Package dev is Deputy for a developer's own machine: the service with users to log in as, and an agent that the developer starts himself.
//
// Everything is as in a real installation, but that the agent is the developer's
// own process: he runs it in a terminal or a debugger, and starts it again as often
// as he likes. What agents are told in their environment is in a file for him.
package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/server"
	"github.com/deputy-id/deputy/internal/spool"
)

// Run runs a Deputy for development until ctx is done or the command, if there is
// one, has ended; how that ended is the error.
func Run(ctx context.Context, c Config) error {
	if err := c.complete(); err != nil {
		return err
	}
	d := &dev{Config: c, environment: make(chan map[string]string, 1), found: make(chan struct{}, 1)}
	var err error
	if d.name, err = c.agentName(); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(c.Data, "deputy.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return unwritable(err)
	}
	defer func() { _ = log.Close() }() // nothing of worth is lost with it
	return d.serve(ctx, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// dev is a running Deputy for development.
type dev struct {
	Config
	name        string // of the agent
	api         *apiclient.Client
	environment chan map[string]string // of the agent, once it is known
	found       chan struct{}          // whenever the agent begins to answer
}

// told tells the developer something.
func (d *dev) told(format string, args ...any) {
	_, _ = fmt.Fprintf(d.ErrOut, format+"\n", args...) // whoever reads this has gone
}

// serve runs the service, and develop beside it.
func (d *dev) serve(ctx context.Context, log *slog.Logger) error {
	ready := make(chan struct{})
	s, err := server.Build(ctx, server.Config{
		Data: filepath.Join(d.Data, "deputy"), Listen: d.Listen, PublicURL: named(d.Listen), IngressListen: d.IngressListen, IngressURL: d.ingressURL(),
		AllowOutbound: d.AllowOutbound, Vendors: d.Vendors, Version: d.Version, Logger: log,
		Ready:  func(net.Addr, net.Addr) { close(ready) },
		Attach: &server.Attach{Workload: name.Workload{Pool: workloadPool, Name: d.name}, URL: "http://" + d.AgentListen, Begin: d.begin, Found: d.tellFound},
	})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// The service goes on until the command has ended, which may have something to finish.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- s.Run(serving)
	}()
	select {
	case <-ready:
	case err := <-ended:
		return err
	}
	err = d.develop(ctx)
	end()
	return errors.Join(err, <-ended)
}

// named is the identity service's URL: its own host name keeps its cookies apart
// from those of everything else on this machine, and passkeys need one.
func named(listen string) string {
	_, port, _ := net.SplitHostPort(listen) // complete has checked it
	return "http://localhost:" + port
}

func (d *dev) ingressURL() string { return "http://" + d.IngressListen }

// begin takes the environment that the agent is to have.
func (d *dev) begin(environment map[string]string) error {
	_, port, _ := net.SplitHostPort(d.AgentListen) // complete has checked it
	environment["PORT"] = port
	text, left := environmentFile(environment)
	if err := spool.Replace(d.environmentFile(), text); err != nil {
		return unwritable(err)
	}
	select {
	case d.environment <- environment:
		if len(left) > 0 {
			d.told("Not in the file, for their quotes or line ends: %s.", strings.Join(left, ", "))
		}
	default: // it has been taken before, and stays the same
	}
	return nil
}

func (d *dev) environmentFile() string { return filepath.Join(d.Data, "agent.env") }

// tellFound notes that the agent answers.
func (d *dev) tellFound() {
	select {
	case d.found <- struct{}{}:
	default: // it is about to be told
	}
}

// develop sets everything up and runs the command, or waits.
func (d *dev) develop(ctx context.Context) error {
	token, err := apiclient.ReadToken(d.tokenFile())
	if err != nil {
		return err
	}
	if d.api, err = apiclient.New(apiclient.Config{URL: "http://" + d.Listen, Token: token}); err != nil {
		return err
	}
	w, err := d.setup(ctx)
	if err != nil {
		return err
	}
	d.welcome(w)
	var environment map[string]string
	select {
	case environment = <-d.environment:
	case <-ctx.Done():
		return nil
	}
	if len(d.Command) > 0 {
		return d.command(ctx, w, environment)
	}
	d.tellAgents(ctx, w)
	return nil
}

func (d *dev) tokenFile() string { return filepath.Join(d.Data, "deputy", "operator.token") }

// tellAgents tells whenever the agent can be talked to, until ctx is done.
func (d *dev) tellAgents(ctx context.Context, w world) {
	for {
		select {
		case <-d.found:
		case <-ctx.Done():
			return
		}
		if _, err := d.api.AwaitAgent(ctx, workloadPool, d.name, func(apiclient.Agent) {}); err == nil { // else it has gone again
			d.told("The agent %s answers. Talk to it: %s/", d.name, w.agent.Endpoint)
		}
	}
}

// welcome says what there is, and what to do next.
func (d *dev) welcome(w world) {
	d.told("Deputy for development is ready (log: %s)\n", filepath.Join(d.Data, "deputy.log"))
	d.told("  identity service  %s", named(d.Listen))
	for _, user := range userNames() {
		d.told("  log in as         %-6s %s", user, w.passwords[user])
	}
	d.told("  talk to the agent %s/", w.agent.Endpoint)
	d.told("  call it as alice  curl -N %s/invoke -H \"Authorization: Bearer $(cat %s)\" \\\n"+
		"                      -H 'Content-Type: application/json' -d '{\"prompt\":\"hello\"}'", w.agent.Endpoint, w.keys["alice"])
	d.told("  administer it     export DEPUTY_URL=%s DEPUTY_TOKEN_FILE=%s", named(d.Listen), d.tokenFile())
	d.told("                    deputy provider create …\n")
	if len(d.Command) == 0 {
		d.told("Start your agent, which is to listen on %s, with what is in %s:", d.AgentListen, d.environmentFile())
		d.told("  set -a; . %s; set +a\n", d.environmentFile())
	}
}

// failed is how the command ended.
func failed(err error) error {
	return fault.Wrap(err, fault.Conflict, "command_failed", "the agent's command ended: %v", err)
}

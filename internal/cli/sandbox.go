package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/sandbox/feishu"
)

// sandboxCommand is deputy sandbox.
type sandboxCommand struct {
	Listen        string   `help:"Address of the sandbox, ${default} by default." default:"127.0.0.1:8083" placeholder:"HOST:PORT"`
	AppID         string   `name:"app-id" help:"Id of the app that is registered." default:"cli_sandbox0000000001"`
	AppSecretFile string   `help:"File with the app's secret." required:"" placeholder:"FILE"`
	RedirectURI   []string `name:"redirect-uri" help:"Redirect URI of the app, ${default} by default. May be repeated." default:"http://localhost:8080/api/v1/oauth2callback" placeholder:"URL"`
	Scope         []string `help:"Scope that is enabled for the app. May be repeated." default:"docx:document:readonly,docs:document.content:read,offline_access"`
	LogFormat     string   `help:"Format of the log: ${enum}." enum:"json,text" default:"json"`
}

// Run implements kong's command.
func (s sandboxCommand) Run(ctx context.Context, o output) error {
	log, err := logger(o, s.LogFormat, "info")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(s.AppSecretFile)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "app_secret_unreadable", "the file with the app's secret cannot be read").WithSource("--app-secret-file")
	}
	app := feishu.App{ID: s.AppID, Secret: strings.TrimSpace(string(b)), RedirectURIs: s.RedirectURI, Scopes: s.Scope, Name: "Deputy"}
	err = feishu.Run(ctx, feishu.RunConfig{
		Listen: s.Listen, Apps: []feishu.App{app}, Logger: log,
		Ready: func(a net.Addr) { log.Info("sandbox is ready", "address", a.String()) },
	})
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Op == "listen" {
		return fault.Wrap(err, fault.Unavailable, "listen_failed", "the sandbox cannot listen on %s", s.Listen).WithSource("--listen").
			WithFix("stop what uses this port, or choose another with --listen")
	}
	return err
}

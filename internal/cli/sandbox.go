package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/sandbox/depot"
	"github.com/deputy-id/deputy/sandbox/feishu"
	"github.com/deputy-id/deputy/sandbox/github"
	"github.com/deputy-id/deputy/sandbox/google"
	"github.com/deputy-id/deputy/sandbox/notion"
	"github.com/deputy-id/deputy/sandbox/party"
	"github.com/deputy-id/deputy/sandbox/slack"
)

// sandboxCommand is deputy sandbox.
type sandboxCommand struct {
	Party         string   `help:"Which third party: ${enum}." enum:"feishu,github,google,notion,slack,depot" default:"feishu"`
	Listen        string   `help:"Address of the sandbox, ${default} by default." default:"127.0.0.1:8083" placeholder:"HOST:PORT"`
	AppID         string   `name:"app-id" help:"Id of the app that is registered." default:"cli_sandbox0000000001"`
	AppSecretFile string   `help:"File with the app's secret." required:"" placeholder:"FILE"`
	RedirectURI   []string `name:"redirect-uri" help:"Redirect URI of the app, ${default} by default. May be repeated." default:"http://localhost:8080/api/v1/oauth2callback" placeholder:"URL"`
	Scope         []string `help:"Scope that is enabled for the app at Feishu. May be repeated." default:"docx:document:readonly,docs:document.content:read,offline_access"`
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
	err = s.serve(ctx, log, strings.TrimSpace(string(b)))
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Op == "listen" {
		return fault.Wrap(err, fault.Unavailable, "listen_failed", "the sandbox cannot listen on %s", s.Listen).WithSource("--listen").
			WithFix("stop what uses this port, or choose another with --listen")
	}
	return err
}

// serve runs the third party that was asked for until ctx ends.
func (s sandboxCommand) serve(ctx context.Context, log *slog.Logger, appSecret string) error {
	ready := func(a net.Addr) { log.Info("sandbox is ready", "address", a.String()) }
	if s.Party == "feishu" {
		app := feishu.App{ID: s.AppID, Secret: appSecret, RedirectURIs: s.RedirectURI, Scopes: s.Scope, Name: "Deputy"}
		return feishu.Run(ctx, feishu.RunConfig{Listen: s.Listen, Apps: []feishu.App{app}, Logger: log, Ready: ready})
	}
	c := party.Config{Users: party.DefaultUsers(), Logger: log, App: party.App{ID: s.AppID, Secret: appSecret, RedirectURIs: s.RedirectURI, Name: "Deputy"}}
	handler, err := smallParty(s.Party, c)
	if err != nil {
		return err
	}
	return party.Serve(ctx, party.Listening{Address: s.Listen, Handler: handler, WriteTimeout: 10 * time.Second, Logger: log, Ready: ready})
}

// smallParty makes one of the third parties that have no switches of their own.
func smallParty(which string, c party.Config) (http.Handler, error) {
	var (
		made interface{ Handler() http.Handler }
		err  error
	)
	switch which {
	case "github":
		made, err = github.New(c)
	case "google":
		made, err = google.New(c)
	case "notion":
		made, err = notion.New(c)
	case "slack":
		made, err = slack.New(c)
	case "depot":
		made, err = depot.New(c)
	default:
		return nil, fault.New(fault.Internal, "party_unknown", "there is no third party %q", which)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "sandbox_invalid", "the sandbox cannot be made: %v", err)
	}
	return made.Handler(), nil
}

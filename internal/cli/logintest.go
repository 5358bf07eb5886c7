package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/logintest"
	"github.com/deputy-id/deputy/internal/name"
)

// loginTestCommand is deputy login-test.
type loginTestCommand struct {
	inPool
	ClientID   string   `help:"Client to log in with; without it one is made for the test and deleted afterwards." name:"client-id"`
	SecretFile string   `help:"File with the client's secret; - is standard input." placeholder:"FILE"`
	Listen     string   `help:"Address of the test application, on this machine; ${default} by default, where 0 is any free port." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Scope      []string `help:"Scopes to ask for, ${default} by default. May be repeated." default:"openid,profile,email"`
	ShowToken  bool     `help:"Show the access token itself. Whoever has it can act as the user until it expires."`
	Once       bool     `help:"End after the first login, with exit code 1 if it failed."`
}

// Run implements kong's command.
func (t loginTestCommand) Run(ctx context.Context, o output) error {
	api, err := t.client()
	if err != nil {
		return err
	}
	pool, err := api.UserPool(ctx, t.Pool)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", t.Listen)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "listen_failed", "the test application cannot listen on %s", t.Listen).WithSource("--listen")
	}
	defer func() { _ = l.Close() }() // the server closes it, too
	config := logintest.Config{
		URL: "http://" + l.Addr().String(), Issuer: pool.Issuer, ClientID: t.ClientID, Scopes: t.Scope, ShowTokens: t.ShowToken,
	}
	if t.SecretFile != "" {
		if config.ClientSecret, err = readSecret(t.SecretFile, "--secret-file"); err != nil {
			return err
		}
	}
	if t.ClientID == "" {
		made, err := t.temporaryClient(ctx, api, config.URL)
		if err != nil {
			return err
		}
		config.ClientID = made.ID
		defer func() {
			// Also after Ctrl-C, which has ended ctx.
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if err := api.DeleteOAuthClient(bound, t.Pool, made.ID); err != nil {
				_ = report(o, fault.Wrap(err, fault.Unavailable, "client_left", "the client %s of this test is still there", made.Name).WithFix("run: deputy client delete %s %s", t.Pool, made.Name))
			}
		}()
	}
	return t.serve(ctx, o, l, config)
}

// temporaryClient makes a client for this test alone.
func (t loginTestCommand) temporaryClient(ctx context.Context, api *apiclient.Client, at string) (apiclient.OAuthClient, error) {
	made, _, err := api.CreateOAuthClient(ctx, t.Pool, apiclient.ClientSettings{
		Name: "login-test-" + strings.TrimPrefix(name.NewID("lt"), "lt_")[:8], Type: "public", RedirectURIs: []string{at + logintest.CallbackPath},
		PostLogoutRedirectURIs: []string{at + logintest.LoggedOutPath}, Scopes: t.Scope,
	})
	return made, err
}

// serve runs the application until ctx is done, or with --once until the first login.
func (t loginTestCommand) serve(ctx context.Context, o output, l net.Listener, c logintest.Config) error {
	site, err := browser.NewSite(c.URL, "login-test")
	if err != nil {
		return err
	}
	pages, err := browser.NewPages(site, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	logins := make(chan logintest.Login)
	c.Done = func(login logintest.Login) {
		select {
		case logins <- login:
		case <-ctx.Done():
		}
	}
	test, err := logintest.New(ctx, c, site, pages)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	test.Mount(mux)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(bound) // what is still open is of no use to anybody
	}()
	if err := o.print(map[string]string{"url": c.URL, "clientId": c.ClientID}, func(w io.Writer) error {
		_, err := io.WriteString(w, "Open "+c.URL+" and log in. Ctrl-C ends the test.\n")
		return err
	}); err != nil {
		return err
	}
	for {
		select {
		case login := <-logins:
			if err := o.print(login, func(w io.Writer) error {
				_, err := io.WriteString(w, strings.Join(login.Lines(), "\n")+"\n")
				return err
			}); err != nil {
				return err
			}
			if t.Once && !login.OK {
				return fault.New(fault.Conflict, "login_failed", "%s", login.Error).WithFix("%s", login.Fix)
			}
			if t.Once {
				return nil
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil // Ctrl-C is how it ends
			}
			return ctx.Err()
		}
	}
}

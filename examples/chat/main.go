// Package main is the tutorial's chat application: a person logs in at the user pool and talks to an agent.
//
// It is an ordinary relying party and an ordinary client of an agent. It knows
// nothing of Deputy but two addresses: the issuer of the user pool and the
// endpoint of the agent. It never sees a third party's token, and a user's own
// access token stays in this process's memory, one per browser session.
//
// The files, bottom up: dotenv.go and settings.go read the configuration;
// token.go and sessions.go keep what belongs to one browser; login.go is the
// OpenID Connect code flow; sse.go and adk.go read what an agent says; agent.go
// calls it; chat.go joins the two for the page; page.go renders the page in
// ui/; web.go lists the routes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.LookupEnv, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chat:", err)
		stop()
		os.Exit(1)
	}
}

// run serves the application until ctx ends. Everything it takes from the
// process comes in as a parameter.
func run(ctx context.Context, args []string, lookup lookupEnv, stderr io.Writer) error {
	flags := flag.NewFlagSet("chat", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("env", "", "`file` with the settings (default .env, if there is one)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: the only option is -env FILE", flags.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	set, err := loadSettings(*path, lookup, log)
	if err != nil {
		return err
	}
	app, err := newApp(set, log, time.Now)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", set.listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s (from %s): %w", set.listen, set.listenSource, err)
	}
	return serve(ctx, listener, app, log)
}

// serve answers on listener until ctx ends, then gives running answers a few
// seconds to stop.
func serve(ctx context.Context, listener net.Listener, app *app, log *slog.Logger) error {
	server := &http.Server{
		Handler:           app.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// A request's context ends with the program, so that no answer of an
		// agent outlives it.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	log.Info("chat application is ready", "url", app.set.base, "agent", app.set.agentEndpoint)
	go app.login.warmUp(ctx)

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("connections still open after 5 s: %w", err), server.Close())
	}
	return nil
}

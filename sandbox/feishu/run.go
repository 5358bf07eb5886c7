package feishu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// RunConfig says what Run serves and where.
type RunConfig struct {
	Listen string // "127.0.0.1:8083"; port 0 picks a free one

	// AllowRemote permits a Listen address that other machines can reach. The
	// login page prints the demo users' passwords, so this takes an explicit act.
	AllowRemote bool

	Apps      []App
	Users     []User     // nil means DefaultUsers
	Documents []Document // nil means DefaultDocuments, but only if Users is nil too

	RefusePKCEAtV3 bool             // see Config
	Now            func() time.Time // see Config
	Logger         *slog.Logger     // see Config

	// Ready, if not nil, is called once with the address that is listened on.
	Ready func(net.Addr)
}

// shutdownGrace is how long requests may finish after the context ends.
const shutdownGrace = 3 * time.Second

// Run serves a Sandbox until ctx ends, and then returns nil.
func Run(ctx context.Context, c RunConfig) error {
	if !c.AllowRemote && !loopbackName(c.Listen) {
		return fmt.Errorf("refusing to listen on %s: the sandbox prints passwords, so it stays on loopback", c.Listen)
	}
	if c.Users == nil {
		c.Users = DefaultUsers()
		if c.Documents == nil {
			c.Documents = DefaultDocuments()
		}
	}
	s, err := New(Config{Apps: c.Apps, Users: c.Users, Documents: c.Documents,
		RefusePKCEAtV3: c.RefusePKCEAtV3, Now: c.Now, Logger: c.Logger})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      3 * maxLatency, // a token request may wait for two knobs
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	if c.Ready != nil {
		c.Ready(listener.Addr())
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		server.Close() // somebody waits out a latency knob: cut them off
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

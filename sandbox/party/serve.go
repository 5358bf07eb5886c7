package party

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// shutdownGrace is how long requests may finish after the context ends.
const shutdownGrace = 3 * time.Second

// Listening says what Serve serves and where.
type Listening struct {
	Address      string // "127.0.0.1:8083"; port 0 picks a free one
	AllowRemote  bool   // permits an Address that other machines can reach; login pages print passwords
	Handler      http.Handler
	WriteTimeout time.Duration
	Logger       *slog.Logger
	Ready        func(net.Addr) // if not nil, called once with the address that is listened on
}

// Serve serves l until ctx ends, and then returns nil.
func Serve(ctx context.Context, l Listening) error {
	if !l.AllowRemote && !Loopback(l.Address) {
		return fmt.Errorf("refusing to listen on %s: the sandbox prints passwords, so it stays on loopback", l.Address)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", l.Address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           l.Handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      l.WriteTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(l.Logger.Handler(), slog.LevelWarn),
	}
	if l.Ready != nil {
		l.Ready(listener.Addr())
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
		server.Close() // somebody waits for a slow answer: cut them off
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Loopback reports whether hostport names this machine.
func Loopback(hostport string) bool {
	name, _, err := net.SplitHostPort(hostport)
	if err != nil {
		name = strings.Trim(hostport, "[]")
	}
	return name == "localhost" || net.ParseIP(name).IsLoopback()
}

package party

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// shutdownGrace is how long requests may finish after the context ends.
const shutdownGrace = 3 * time.Second

// Serve serves server on listen ("127.0.0.1:8083"; port 0 picks a free one)
// until ctx ends, and then returns nil. Other machines cannot reach it unless
// allowRemote: login pages print passwords. ready, if not nil, is called once
// with the address that is listened on.
func Serve(ctx context.Context, listen string, allowRemote bool, server *http.Server, ready func(net.Addr)) error {
	if !allowRemote && !Loopback(listen) {
		return fmt.Errorf("refusing to listen on %s: the sandbox prints passwords, so it stays on loopback", listen)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	server.ReadHeaderTimeout, server.ReadTimeout, server.IdleTimeout = 5*time.Second, 10*time.Second, time.Minute
	server.MaxHeaderBytes = 32 << 10
	if server.WriteTimeout == 0 {
		server.WriteTimeout = 10 * time.Second
	}
	if ready != nil {
		ready(listener.Addr())
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

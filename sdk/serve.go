package deputy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	// grace is how long running answers may take to finish after the agent was told to stop.
	grace = 5 * time.Second
	// afterwards they are cancelled, and this long they may take to say so.
	lastWords = 2 * time.Second
)

// Serve answers requests at the port that the environment's PORT names, on
// 127.0.0.1 or, in a pod, on the address in DEPUTY_HOST, until ctx ends. Then it
// takes no new requests, lets running ones finish for 5 s and cancels the rest. It
// returns nil after such a stop.
func (a *Agent) Serve(ctx context.Context) error {
	port := os.Getenv("PORT")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return &Error{Code: "environment_incomplete", Message: "PORT is not set to a port number",
			Fix: "Deputy's runtime sets it when it launches an agent"}
	}
	handler, err := a.Handler()
	if err != nil {
		return err
	}
	host := os.Getenv("DEPUTY_HOST")
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	return serve(ctx, l, handler)
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	turns, cancelTurns := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelTurns()
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return turns },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err := shutdown(srv, grace)
	if errors.Is(err, context.DeadlineExceeded) {
		cancelTurns()
		err = shutdown(srv, lastWords)
	}
	if err != nil {
		err = srv.Close()
	}
	if stopped := <-ended; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}

func shutdown(srv *http.Server, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return srv.Shutdown(ctx)
}

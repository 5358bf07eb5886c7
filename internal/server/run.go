package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
)

// The bounds of a connection. There is none for writing: answers may be streams.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// The steps of a shutdown: requests may end (at the ingress for
// [Config.DrainTime]), then waiting ones are cancelled, then connections are cut.
const (
	graceForRequests = 2 * time.Second
	graceForStreams  = 8 * time.Second
)

// Run serves until ctx is done, and returns when everything has stopped.
func (s *Server) Run(ctx context.Context) error {
	identity, err := listen(ctx, "--listen", s.config.Listen)
	if err != nil {
		return err
	}
	var in net.Listener
	if s.ingress != nil {
		if in, err = listen(ctx, "--ingress-listen", s.config.IngressListen); err != nil {
			return errors.Join(err, identity.Close())
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	// Requests to agents end first. While they may go on, so do the agents, and what agents ask for credentials.
	last, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group.Go(func() { stop(s.serve(last, identity, s.identity, nil)) })
	group.Go(func() { s.keeper.run(ctx) })
	group.Go(func() { s.notifier.Run(ctx) })
	group.Go(func() { s.recovery.Run(ctx) })
	group.Go(func() { s.revoking.Run(ctx) })
	group.Go(func() { s.teller.Run(ctx) })
	group.Go(func() { s.teller.Worker().Run(ctx) })
	group.Go(func() { s.keeper.keepFresh(ctx) })
	group.Go(func() { s.keeper.keepSealed(ctx) })
	group.Go(func() { s.consents.KeepAsking(ctx) })
	if in != nil {
		group.Go(func() {
			defer end()
			stop(s.serve(ctx, in, s.ingress, s.gate.Drain))
		})
		group.Go(func() { s.fleet.Run(last) })
		if s.cluster != nil {
			group.Go(func() { s.sweep(ctx, s.agents) })
		}
	} else {
		defer context.AfterFunc(ctx, end)()
	}
	s.config.Logger.Info("deputy is ready", "identity", s.config.PublicURL, "ingress", s.config.IngressURL, "version", s.config.Version)
	if s.config.Ready != nil {
		var ingressAddr net.Addr
		if in != nil {
			ingressAddr = in.Addr()
		}
		s.config.Ready(identity.Addr(), ingressAddr)
	}
	<-ctx.Done()
	group.Wait()
	s.config.Logger.Info("deputy has stopped")
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// within gives f so much time, although ctx is done.
func within(ctx context.Context, bound time.Duration, f func(context.Context)) {
	ctx, release := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer release()
	f(ctx)
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		return l, nil
	}
	f := fault.Wrap(err, fault.Unavailable, "listen_failed", "cannot listen on %s", address).WithSource(flag)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, f.WithFix("another program uses this port: stop it, or choose another with %s", flag)
	case errors.Is(err, syscall.EACCES):
		return nil, f.WithFix("ports below 1024 need special rights: choose another with %s", flag)
	default:
		return nil, f.WithFix("check the address")
	}
}

// serve answers requests on l until ctx is done. drain, if there is one, refuses
// new requests from then on and waits for those under way, WebSockets too, of
// which the server knows nothing any more.
func (s *Server) serve(ctx context.Context, l net.Listener, h http.Handler, drain func(context.Context)) error {
	// Requests get a context that ends later than ctx, so that those under way may finish.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug), // what broken clients do
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(l) }()
	select {
	case err := <-stopped:
		return fault.Wrap(err, fault.Unavailable, "serve_failed", "the listener on %s broke", l.Addr())
	case <-ctx.Done():
	}
	grace := graceForRequests
	if drain != nil {
		within(ctx, s.config.DrainTime, drain)
		cancel()
		within(ctx, graceForStreams, drain)
		grace = 0
	}
	streams := time.AfterFunc(grace, cancel)
	defer streams.Stop()
	bound, release := context.WithTimeout(context.WithoutCancel(ctx), grace+graceForStreams)
	defer release()
	if err := server.Shutdown(bound); err != nil {
		return server.Close()
	}
	return nil
}

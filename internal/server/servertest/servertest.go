// Package servertest runs whole Deputies for tests.
package servertest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/server"
)

// Replica is one running Deputy.
type Replica struct {
	URL     string // public
	Direct  string // of this replica
	Ingress string // of the runtime
	Dir     string // its data
	Stop    func() // waits for the end; also called by the test's end
}

// Start runs a Deputy on ports that are free. Config says the rest; without a
// PublicURL it is the address listened on.
func Start(t testing.TB, c server.Config) *Replica {
	t.Helper()
	return start(t, c, func(*server.Config) {})
}

// StartNamed is Start with localhost for the host of the public URL: passkeys
// need a name.
func StartNamed(t testing.TB, c server.Config) *Replica {
	t.Helper()
	return start(t, c, func(c *server.Config) { c.PublicURL = strings.Replace("http://"+c.Listen, "127.0.0.1", "localhost", 1) })
}

func start(t testing.TB, c server.Config, name func(*server.Config)) *Replica {
	t.Helper()
	for range 5 {
		c.Listen, c.IngressListen = freeAddresses(t)
		name(&c)
		if r := try(t, c); r != nil {
			return r
		}
	}
	t.Fatal("no free port was free long enough")
	return nil
}

// try returns nil if somebody else was given the port in between.
func try(t testing.TB, c server.Config) *Replica {
	t.Helper()
	ready, done := make(chan struct{}), make(chan error, 1)
	c.Ready = func(net.Addr, net.Addr) { close(ready) }
	built, err := server.Build(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- built.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		built.Close()
		if fault.HasCode(err, "listen_failed") {
			return nil
		}
		t.Fatal(err)
	}
	r := &Replica{URL: c.PublicURL, Direct: "http://" + c.Listen, Ingress: "http://" + c.IngressListen, Dir: c.Data}
	if r.URL == "" {
		r.URL = r.Direct
	}
	r.Stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		built.Close()
	})
	t.Cleanup(r.Stop)
	return r
}

// freeAddresses returns two addresses that nobody listened on a moment ago.
func freeAddresses(t testing.TB) (one, other string) {
	t.Helper()
	for _, address := range []*string{&one, &other} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // both at the end, so that they differ
		*address = l.Addr().String()
	}
	return one, other
}

// DataDir returns a directory that only its owner may read.
func DataDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

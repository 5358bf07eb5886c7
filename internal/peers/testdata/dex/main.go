// Command dex runs Dex as a peer for tests: one user, and one client whose secret and callback the arguments say. It prints
// where it serves, and ends with its standard input.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	gosundheit "github.com/AppsFlyer/go-sundheit"
	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/server/tokens"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/dexidp/dex/web"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
)

func main() {
	secret := flag.String("secret", "secret", "the client's secret")
	callback := flag.String("callback", "http://127.0.0.1:9/callback", "the client's redirect URI")
	flag.Parse()
	if err := run(context.Background(), *secret, *callback); err != nil {
		log.Fatal(err)
	}
}

// unlocked is Dex's memory but for the update of refresh tokens: what is called for that reads the memory, which has one lock
// and would wait for itself.
type unlocked struct {
	storage.Storage
	one sync.Mutex
}

func (u *unlocked) UpdateRefreshToken(ctx context.Context, id string, update func(storage.RefreshToken) (storage.RefreshToken, error)) error {
	u.one.Lock()
	defer u.one.Unlock()
	t, err := u.GetRefresh(ctx, id)
	if err != nil {
		return err
	}
	if t, err = update(t); err != nil {
		return err
	}
	return u.Storage.UpdateRefreshToken(ctx, id, func(storage.RefreshToken) (storage.RefreshToken, error) { return t, nil })
}

func run(ctx context.Context, secret, callback string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	issuer := "http://" + l.Addr().String() + "/dex"
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	hash, err := bcrypt.GenerateFromPassword([]byte("password"), 10) // Dex takes no less
	if err != nil {
		return err
	}
	kept := storage.WithStaticClients(&unlocked{Storage: memory.New(logger)}, []storage.Client{{ID: "deputy", Secret: secret, RedirectURIs: []string{callback}, Name: "Deputy"}})
	kept = storage.WithStaticPasswords(kept, []storage.Password{{Email: "li.si@example.com", Hash: hash, Username: "lisi", UserID: "u1"}}, logger)
	kept = storage.WithStaticConnectors(kept, []storage.Connector{{ID: "local", Type: "local", Name: "Email"}})
	signing := signer.LocalConfig{KeysRotationPeriod: "6h"}
	keys, err := signing.Open(ctx, kept, 24*time.Hour, time.Now, logger)
	if err != nil {
		return err
	}
	policy, err := tokens.NewRefreshTokenPolicy(logger, false, "", "", "") // which means rotation, and that a spent refresh token is dead at once
	if err != nil {
		return err
	}
	handler, err := server.NewServer(ctx, server.Config{
		Issuer: issuer, Storage: kept, Web: server.WebConfig{WebFS: web.FS()}, Logger: logger, Signer: keys, RefreshTokenPolicy: policy,
		PrometheusRegistry: prometheus.NewRegistry(), HealthChecker: gosundheit.New(), AllowedGrantTypes: []string{"authorization_code", "refresh_token"},
	})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"ready": issuer}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	if err := http.Serve(l, handler); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

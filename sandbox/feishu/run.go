package feishu

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/deputy-id/deputy/sandbox/party"
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

// Run serves a Sandbox until ctx ends, and then returns nil.
func Run(ctx context.Context, c RunConfig) error {
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
	return party.Serve(ctx, party.Listening{
		Address: c.Listen, AllowRemote: c.AllowRemote, Handler: s.Handler(), Logger: s.log, Ready: c.Ready,
		WriteTimeout: 3 * maxLatency, // a token request may wait for two knobs
	})
}

package op

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

// authorized is what a person authorized a client to, before anything of it
// was redeemed.
type authorized struct {
	user      userpool.User
	familyID  string // chosen beforehand, so that whoever redeems twice is known by it
	sessionID string // empty: no session of a browser
	scopes    name.Scopes
	resources []string
	authTime  time.Time
	methods   []string
	nonce     string
}

// begin makes the tokens of a family that begins now, and the family, which the
// caller stores together with what was redeemed for it. The tokens are released
// when that is done.
//
// A client whose grants have refresh_token gets a refresh token, whether or not
// the scope offline_access was granted: that scope is what lets it outlive the
// login (see [userpool.Family]). Simple clients never ask for it and expect to
// be kept logged in all the same.
func (m minter) begin(ctx context.Context, q tokenRequest, a authorized) (userpool.Beginning, tokens, error) {
	audience, err := narrowResources(q.form, a.resources, q.client)
	if err != nil {
		return userpool.Beginning{}, tokens{}, err
	}
	now := m.Now()
	b := userpool.Beginning{Family: userpool.Family{
		ID: a.familyID, Pool: q.pool.Name, ClientID: q.client.ID, UserID: a.user.ID, SessionID: a.sessionID,
		Offline: a.scopes.Has(oauth.ScopeOfflineAccess), Scopes: a.scopes, Resources: a.resources, AuthTime: a.authTime, Methods: a.methods,
		CreatedAt: now, ExpiresAt: now.Add(q.client.AccessTokenLifetime),
	}}
	var value secret.Text
	if q.client.HasGrant(oauth.GrantRefreshToken) {
		b.First, value = userpool.NewRefresh(1)
		b.Family.Head, b.Family.AdvancedAt = 1, now
		b.Family.ExpiresAt, b.Family.IdleExpiresAt = now.Add(q.client.RefreshLifetime), now.Add(q.client.RefreshIdle)
	}
	t, err := m.mint(ctx, order{pool: q.pool, client: q.client, user: a.user, family: b.Family, scopes: a.scopes, audience: audience, nonce: a.nonce})
	t.RefreshToken = value.RevealString()
	return b, t, err
}

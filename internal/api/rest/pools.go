package rest

import (
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

// poolSettings are a pool's settings on the wire. What is left out of a request
// stays as it is.
type poolSettings struct {
	Algorithm           string                `json:"algorithm" required:"false" enum:"ES256,EdDSA,RS256" doc:"That new signing keys are of"`
	KeyLifetime         int                   `json:"keyLifetime" required:"false" doc:"Seconds after which a signing key is followed by a new one; 0: only by hand"`
	RefreshGrace        int                   `json:"refreshGrace" required:"false" doc:"Seconds in which a refresh token may come a second time"`
	PasswordMinLength   int                   `json:"passwordMinLength" required:"false" doc:"Characters"`
	PasswordHistory     int                   `json:"passwordHistory" required:"false" doc:"How many former passwords are refused"`
	RefuseBreached      bool                  `json:"refuseBreached" required:"false" doc:"Passwords on a list of known ones are refused"`
	SecondFactor        userpool.FactorPolicy `json:"secondFactor" required:"false" enum:"off,optional,required"`
	SignUp              bool                  `json:"signUp" required:"false" doc:"Anybody may make himself a user by proving an e-mail address; needs an SMTP server"`
	Recovery            bool                  `json:"recovery" required:"false" doc:"A user may set a new password by proving his e-mail address; needs an SMTP server"`
	DynamicRegistration bool                  `json:"dynamicRegistration" required:"false" doc:"Clients may register themselves with an initial access token (RFC 7591)"`
	MetadataDocuments   bool                  `json:"metadataDocuments" required:"false" doc:"A client_id may be the URL of a Client ID Metadata Document"`
	OpenScopes          []string              `json:"openScopes" required:"false" doc:"Scopes, besides the standard ones, that clients may have which no operator made: those of MCP servers"`
	OpenAudiences       []string              `json:"openAudiences" required:"false" doc:"Resources (RFC 8707) that they may ask tokens for: addresses of MCP servers"`
	Color               string                `json:"color" required:"false" example:"#0b6e4f" doc:"Of buttons and links; readable under white text. Empty: Deputy's"`
}

func settingsOf(s userpool.Settings) poolSettings {
	return poolSettings{
		Algorithm: s.Algorithm, KeyLifetime: int(s.KeyLifetime / time.Second), RefreshGrace: int(s.RefreshGrace / time.Second),
		PasswordMinLength: s.Password.MinLength, PasswordHistory: s.Password.History, RefuseBreached: s.Password.RefuseBreached,
		SecondFactor: s.SecondFactor, SignUp: s.SignUp, Recovery: s.Recovery, DynamicRegistration: s.DynamicRegistration,
		MetadataDocuments: s.MetadataDocuments, OpenScopes: append([]string{}, s.Open.Scopes...), OpenAudiences: append([]string{}, s.Open.Audiences...), Color: s.Look.Color,
	}
}

// onto returns s with what p says.
func (p poolSettings) onto(s userpool.Settings) userpool.Settings {
	s.Algorithm, s.KeyLifetime, s.RefreshGrace = p.Algorithm, seconds(p.KeyLifetime), seconds(p.RefreshGrace)
	s.Password = userpool.PasswordPolicy{MinLength: p.PasswordMinLength, History: p.PasswordHistory, RefuseBreached: p.RefuseBreached}
	s.SecondFactor, s.SignUp, s.Recovery = p.SecondFactor, p.SignUp, p.Recovery
	s.DynamicRegistration, s.MetadataDocuments, s.Look.Color = p.DynamicRegistration, p.MetadataDocuments, p.Color
	s.Open = userpool.OpenClients{Scopes: p.OpenScopes, Audiences: p.OpenAudiences}
	return s
}

// seconds is a duration, or -1 for a number that none can have.
func seconds(n int) time.Duration {
	const most = 100 * 365 * 24 * 3600
	if n < 0 || n > most {
		return -1
	}
	return time.Duration(n) * time.Second
}

type newUserPool struct {
	Name        string       `json:"name" example:"people"`
	DisplayName string       `json:"displayName,omitempty" example:"The people of Example Ltd."`
	Settings    poolSettings `json:"settings,omitempty"`
}

type poolChange struct {
	Version     int64        `json:"version,omitempty" doc:"If given, the pool must still be of this version"`
	DisplayName string       `json:"displayName,omitempty"`
	Settings    poolSettings `json:"settings,omitempty"`
}

type userPoolJSON struct {
	Name         string       `json:"name"`
	DisplayName  string       `json:"displayName,omitempty"`
	Issuer       string       `json:"issuer"`
	DiscoveryURL string       `json:"discoveryUrl"`
	CreatedAt    time.Time    `json:"createdAt"`
	Version      int64        `json:"version" doc:"One more with every change"`
	Settings     poolSettings `json:"settings"`
	LogoType     string       `json:"logoType,omitempty"`
	Mail         bool         `json:"mail" doc:"Whether an SMTP server is set: without one, signUp and recovery offer nothing"`
}

func (a *API) userPool(p userpool.Pool) userPoolJSON {
	issuer := userpool.Issuer(a.PublicURL, p.Name)
	return userPoolJSON{
		p.Name, p.DisplayName, issuer, issuer + "/.well-known/openid-configuration", p.CreatedAt, p.Version, settingsOf(p.Settings), p.Settings.Look.LogoType, a.Mail,
	}
}

func (a *API) listUserPools(c *call) (any, error) {
	pools, err := a.Pools.Pools(c.ctx)
	pools = slices.DeleteFunc(pools, func(p userpool.Pool) bool { return !c.pools.HasUser(p.Name) })
	return listOf(pools, a.userPool), err
}

func (a *API) createUserPool(c *call) (any, error) {
	settings := userpool.DefaultSettings()
	in := newUserPool{Settings: settingsOf(settings)}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	pool := userpool.Pool{Name: in.Name, DisplayName: in.DisplayName, Settings: in.Settings.onto(settings), CreatedAt: a.now(), Version: 1}
	if err := pool.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionCreatePool, pool.Resource())
	if err != nil {
		return nil, err
	}
	return a.userPool(pool), a.Pools.CreatePool(c.ctx, p, pool)
}

func (a *API) getUserPool(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	return a.userPool(pool), err
}

func (a *API) updateUserPool(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	in := poolChange{Version: pool.Version, DisplayName: pool.DisplayName, Settings: settingsOf(pool.Settings)}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	pool.Version, pool.DisplayName, pool.Settings = in.Version, in.DisplayName, in.Settings.onto(pool.Settings)
	return a.storePool(c, pool, "settings")
}

// storePool replaces the pool, if it is still of its version.
func (a *API) storePool(c *call, pool userpool.Pool, what string) (any, error) {
	if err := pool.Check(); err != nil {
		return nil, err
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionUpdatePool, pool.Resource())
	if err != nil {
		return nil, err
	}
	if err := a.Pools.UpdatePool(c.ctx, p.Detail(map[string]string{"change": what}), pool); err != nil {
		return nil, err
	}
	pool.Version++
	return a.userPool(pool), nil
}

// deleteUserPool wants the name a second time: everybody in the pool is gone
// with it, and no backup of ours brings them back.
func (a *API) deleteUserPool(c *call) (any, error) {
	pool := c.path("pool")
	if c.query["confirm"] != pool {
		return nil, fault.New(fault.Invalid, "confirmation_missing", "deleting a user pool deletes its users, clients and keys").
			WithSource("confirm").WithFix("if that is meant, add ?confirm=%s", name.Clip(pool, 80))
	}
	p, err := a.Guard.Allow(c.ctx, c.caller, userpool.ActionDeletePool, userpool.Resource(pool))
	if err != nil {
		return nil, err
	}
	return nil, a.Pools.DeletePool(c.ctx, p, pool)
}

type newLogo struct {
	Image []byte `json:"image" doc:"PNG, JPEG or WebP in base64, at most 128 KiB and 2048 by 2048 pixels; it is shown at 28 by 28"`
}

// maxBody implements [bounded]: base64 takes a third more.
func (newLogo) maxBody() int64 { return userpool.MaxLogo/3*4 + 1024 }

func (a *API) putLogo(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	var in newLogo
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if pool.Settings.Look.LogoType, err = userpool.LogoType(in.Image); err != nil {
		return nil, err
	}
	pool.Settings.Look.Logo = in.Image
	return a.storePool(c, pool, "logo")
}

func (a *API) deleteLogo(c *call) (any, error) {
	pool, err := a.Pools.Pool(c.ctx, c.path("pool"))
	if err != nil {
		return nil, err
	}
	pool.Settings.Look.Logo, pool.Settings.Look.LogoType = nil, ""
	return a.storePool(c, pool, "logo")
}

package op

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// deviceAuthorization is the device authorization endpoint (RFC 8628, section 3.1).
type deviceAuthorization struct {
	clientAuth
	base
	devices userpool.Devices
	guard   *guard.Guard
}

// deviceAnswer is what the device gets (section 3.2).
type deviceAnswer struct {
	DeviceCode      string `json:"device_code"`
	UserCode        string `json:"user_code"`
	VerificationURI string `json:"verification_uri"`
	Complete        string `json:"verification_uri_complete"`
	ExpiresIn       int64  `json:"expires_in"` // seconds
	Interval        int64  `json:"interval"`   // seconds
}

// userCodeTries bounds how often a user code is made anew because a pending
// request has it. That this happens twice is one in 10^9 even with a million of them.
const userCodeTries = 4

func (e deviceAuthorization) serve(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody, paramResource)
	if err != nil {
		return err
	}
	client, err := e.authenticate(r, pool, form)
	if err != nil {
		return err
	}
	d, err := e.request(client, form)
	if err != nil {
		return err
	}
	d.Address, d.Agent = e.Address(r).String(), oauth.Clean(r.UserAgent(), 200)
	code := userpool.NewDeviceCode()
	d.Hash = userpool.HashDeviceCode(code)
	shown, err := e.create(r.Context(), d)
	if err != nil {
		return err
	}
	page := e.Issuer(pool) + devicePath
	wire.Write(w, http.StatusOK, deviceAnswer{
		DeviceCode: code.RevealString(), UserCode: shown.String(), VerificationURI: page,
		Complete:  page + "?" + url.Values{"user_code": {shown.String()}}.Encode(),
		ExpiresIn: int64(userpool.DeviceLifetime / time.Second), Interval: int64(userpool.DeviceInterval / time.Second),
	})
	return nil
}

// request returns what the client asks for.
func (e deviceAuthorization) request(client userpool.Client, form url.Values) (userpool.Device, error) {
	if !client.HasGrant(oauth.GrantDeviceCode) {
		return userpool.Device{}, refuse(http.StatusBadRequest, oauth.CodeUnauthorizedClient, "this client may not use grant_type="+oauth.GrantDeviceCode)
	}
	asked := authRequest{client: client}
	refusal := asked.fillScopes(form)
	if refusal == nil {
		asked.resources, refusal = askedResources(form, client)
	}
	if refusal != nil {
		return userpool.Device{}, &apiError{status: http.StatusBadRequest, err: refusal}
	}
	now := e.Now()
	return userpool.Device{
		ID: name.NewID("dev"), Pool: client.Pool, ClientID: client.ID, Scopes: asked.scopes, Resources: asked.resources,
		CreatedAt: now, ExpiresAt: now.Add(userpool.DeviceLifetime), State: userpool.DevicePending,
	}, nil
}

// create stores d under a user code that no other request has, and returns that.
func (e deviceAuthorization) create(ctx context.Context, d userpool.Device) (userpool.UserCode, error) {
	var taken error
	for range userCodeTries {
		p, err := e.guard.Allow(ctx, name.Caller{Kind: name.Client, Client: d.ClientID}, userpool.ActionCreateDevice, d.Resource())
		if err != nil {
			return "", err
		}
		code := userpool.NewUserCode()
		d.UserHash = code.Hash()
		err = e.devices.CreateDevice(ctx, p.With("", d.Scopes, map[string]string{"client": d.ClientID, "address": d.Address}), d)
		if !fault.HasCode(err, "device_exists") {
			return code, err
		}
		taken = err
	}
	return "", fault.Wrap(taken, fault.Unavailable, "user_codes_busy", "no user code is free").WithFix("try again later")
}

// deviceGrant turns the code of a device whose request was allowed into tokens
// (RFC 8628, section 3.4).
type deviceGrant struct {
	minter
	devices userpool.Devices
	users   userpool.Users
	guard   *guard.Guard
	pace    *pace
}

func (e deviceGrant) answer(ctx context.Context, q tokenRequest) (tokens, error) {
	if !q.form.Has("device_code") {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidRequest, "device_code is missing")
	}
	d, err := e.devices.Device(ctx, q.pool.Name, userpool.HashDeviceCode(secret.FromString(q.form.Get("device_code"))))
	if fault.Is(err, fault.NotFound) {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeInvalidGrant, "the device code is unknown to this pool")
	}
	if err != nil {
		return tokens{}, err
	}
	if d.ClientID != q.client.ID {
		return tokens{}, e.refused(ctx, q, d, "the device code was made for another client")
	}
	if d.State == userpool.DeviceRedeemed {
		return tokens{}, e.refused(ctx, q, d, "the device code was used before")
	}
	if !e.Now().Before(d.ExpiresAt) {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeExpiredToken, "the device code has expired")
	}
	switch d.State {
	case userpool.DeviceAllowed:
		return e.redeem(ctx, q, d)
	case userpool.DeviceDenied:
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeAccessDenied, "the user denied the request")
	}
	if !e.pace.keeps(d, e.Now()) {
		return tokens{}, refuse(http.StatusBadRequest, oauth.CodeSlowDown, "the device asks too often")
	}
	return tokens{}, refuse(http.StatusBadRequest, oauth.CodeAuthorizationPending, "the user has not decided yet")
}

// redeem makes the tokens first and releases them last: the commit that uses up
// the code, with its audit entry, stands between. The tokens belong to no session:
// the login that allowed them was another browser's.
func (e deviceGrant) redeem(ctx context.Context, q tokenRequest, d userpool.Device) (tokens, error) {
	u, err := e.users.User(ctx, q.pool.Name, d.UserID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return tokens{}, err
	}
	if err != nil || u.Disabled || d.AuthTime.Before(u.PasswordChangedAt) {
		return tokens{}, e.refused(ctx, q, d, "the user is gone, disabled or has a new password")
	}
	b, t, err := e.begin(ctx, q, authorized{
		user: u, familyID: name.NewID("fam"), scopes: d.Scopes, resources: d.Resources, authTime: d.AuthTime, methods: d.Methods,
	})
	if err != nil {
		return tokens{}, err
	}
	p, err := e.guard.Allow(ctx, e.person(q.pool, u.ID), userpool.ActionRedeemDevice, d.Resource())
	if err != nil {
		return tokens{}, err
	}
	err = e.devices.RedeemDevice(ctx, p.With("", d.Scopes, map[string]string{"client": q.client.ID, "token": t.id}), d.Pool, d.ID, b)
	if fault.HasCode(err, "device_used") { // by a request that ran beside this one
		return tokens{}, e.refused(ctx, q, d, "the device code was used before")
	}
	if err != nil {
		return tokens{}, err
	}
	return t, nil
}

func (e deviceGrant) refused(ctx context.Context, q tokenRequest, d userpool.Device, why string) error {
	return invalidGrant(ctx, e.guard, e.person(q.pool, d.UserID), userpool.ActionRedeemDevice, d.Resource(), q.client, why)
}

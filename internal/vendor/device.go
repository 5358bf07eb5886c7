package vendor

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// Device is one device authorization at a vendor (RFC 8628, section 3.2).
type Device struct {
	Code        secret.Text // for Deputy; asked with
	UserCode    string      // for the user to type
	VerifyAt    string      // the page to type it at
	VerifyTyped string      // the page with the code filled in; "" if the vendor has none
	Expires     time.Time
	Interval    time.Duration // at least so long between two questions
}

// The bounds of what a vendor may say of a device authorization.
const (
	deviceInterval    = 5 * time.Second // when the vendor says nothing (RFC 8628, section 3.2)
	maxDeviceInterval = time.Minute
	maxUserCode       = 64
)

// BeginDevice asks for a device authorization (RFC 8628, section 3.1). A vendor
// without such an endpoint is a fault of kind Invalid (vendor_endpoint_missing).
func (c *Client) BeginDevice(ctx context.Context, e Entry, app App, scopes name.Scopes) (Device, error) {
	if e.Endpoints.DeviceAuthorization == "" {
		return Device{}, e.missing("device authorization")
	}
	p := map[string]string{"client_id": app.ClientID}
	Target{Scopes: scopes}.into(p, e.Authorize.ScopeSeparator)
	asked := c.now()
	a, status, err := c.post(ctx, e, StepDevice, app, e.Endpoints.DeviceAuthorization, p)
	if err != nil {
		return Device{}, err
	}
	code, ok := a.token("device_code")
	d := Device{
		Code: code, UserCode: printable(a.text("user_code")), VerifyAt: a.text("verification_uri"), VerifyTyped: a.text("verification_uri_complete"),
		Expires: asked.Add(a.seconds("expires_in")), Interval: min(max(a.seconds("interval"), deviceInterval), maxDeviceInterval),
	}
	if d.VerifyAt == "" {
		d.VerifyAt = a.text("verification_url") // Google's name for it
	}
	if !ok || code.Empty() || d.UserCode == "" || len(d.UserCode) > maxUserCode || !browsable(d.VerifyAt) || !d.Expires.After(asked) {
		return Device{}, e.refused(StepDevice, status, a, app, []secret.Text{app.ClientSecret}).fault()
	}
	if !browsable(d.VerifyTyped) {
		d.VerifyTyped = ""
	}
	return d, nil
}

// browsable reports whether a person can be sent to an address that a vendor
// gave.
func browsable(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= 2000 && u.User == nil && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http" && oauth.Loopback(u.Hostname()))
}

// ErrPending is in the chain of the error of [Client.PollDevice] when the user
// has not answered yet.
var ErrPending = errors.New("vendor: the user has not answered yet")

// PollDevice asks once whether the user has answered (RFC 8628, section 3.4).
// slower is how much longer the vendor wants the pauses to be from now on.
func (c *Client) PollDevice(ctx context.Context, e Entry, app App, code secret.Text) (t Tokens, slower time.Duration, err error) {
	p := e.grantParams(oauth.GrantDeviceCode)
	p["device_code"] = code.RevealString()
	t, err = c.tokens(ctx, e, StepDevice, app, p, code)
	var failure *Failure
	if !errors.As(err, &failure) {
		return t, 0, err
	}
	switch failure.VendorCode {
	case "authorization_pending":
		return t, 0, fault.Wrap(ErrPending, fault.Unavailable, "device_pending", "the user has not answered yet")
	case "slow_down":
		return t, deviceInterval, fault.Wrap(ErrPending, fault.Unavailable, "device_pending", "the user has not answered yet")
	default:
		return t, 0, err
	}
}

package op

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/userpool"
)

// devicePath is the page at which a person enters the code of a device.
const devicePath = "/device"

// devicePage is where a person who is logged in enters a device's code, sees who
// asks for what and from where, and decides (RFC 8628, section 3.3). An attacker
// may have sent him here with the code of a device of his own (section 5.4). So
// a code that comes with the address is only filled in; it takes two deliberate
// steps to allow, and the second names the code, the device's address and what
// not to do.
type devicePage struct {
	base
	logins   *login.Logins
	clients  userpool.Clients
	devices  userpool.Devices
	consents userpool.Consents
	throttle *signin.Throttle
	guard    *guard.Guard
}

// devicePurpose binds the form that takes the code to the login.
func devicePurpose(pool userpool.Pool, l login.Login) []string {
	return []string{"device", pool.Name, l.Binding}
}

// decisionPurpose binds a decision to the login and to the one request.
func decisionPurpose(pool userpool.Pool, l login.Login, d userpool.Device) []string {
	return []string{"device decision", pool.Name, l.Binding, d.ID}
}

func (e devicePage) show(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	typed := r.URL.Query().Get("user_code")
	code, ok := userpool.ParseUserCode(typed)
	if ok {
		typed = code.String()
	} else {
		typed = "" // what cannot be a code is not worth to be shown, whoever sent it
	}
	who, loggedIn, err := e.logins.SessionUser(r, e.Issuer(pool))
	if err != nil {
		return err
	}
	if !loggedIn {
		to, err := e.logins.LoginURL(e.Issuer(pool), poolpage.Path(pool.Name, devicePath+"?")+url.Values{"user_code": {typed}}.Encode())
		if err != nil {
			return err
		}
		poolpage.Redirect(w, to)
		return nil
	}
	e.form(w, r, pool, who, http.StatusOK, typed, browser.Text{})
	return nil
}

func (e devicePage) form(w http.ResponseWriter, r *http.Request, pool userpool.Pool, who login.Login, status int, typed string, problem browser.Text) {
	token := e.Site.FormToken(w, r, devicePurpose(pool, who)...)
	e.Pages.Render(w, r, status, deviceForm(pool, e.Brand(pool), who, typed, problem, token))
}

// submit takes the code. Guesses are counted as failed logins are.
func (e devicePage) submit(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	who, err := e.person(r, pool, form, devicePurpose)
	if err != nil {
		return err
	}
	right, err := e.throttle.Guess("device code/"+pool.Name+"/"+who.User.ID, e.Address(r))
	var wait *signin.TooMany
	if errors.As(err, &wait) {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Wait/time.Second)))
		e.form(w, r, pool, who, http.StatusTooManyRequests, "", textTooManyCodes(wait.Wait))
		return nil
	}
	if err != nil {
		return err
	}
	typed := form.Get("user_code")
	d, err := e.find(r, pool, typed)
	if fault.HasCode(err, "device_not_found") {
		e.form(w, r, pool, who, http.StatusForbidden, typed, textWrongCode())
		return nil
	}
	if err != nil {
		return err
	}
	right()
	client, err := e.clients.Client(r.Context(), pool.Name, d.ClientID)
	if err != nil {
		return err
	}
	token := e.Site.FormToken(w, r, decisionPurpose(pool, who, d)...)
	e.Pages.Render(w, r, http.StatusOK, deviceDecision(pool, e.Brand(pool), who, client, d, typed, token))
	return nil
}

// person returns who is logged in, if the form was made for him.
func (e devicePage) person(r *http.Request, pool userpool.Pool, form url.Values, purpose func(userpool.Pool, login.Login) []string) (login.Login, error) {
	who, loggedIn, err := e.logins.SessionUser(r, e.Issuer(pool))
	if err != nil {
		return login.Login{}, err
	}
	if err := e.Site.CheckForm(r, form.Get(browser.FormField), purpose(pool, who)...); err != nil || !loggedIn {
		return login.Login{}, fault.Wrap(err, fault.Forbidden, "form_foreign", "this form was not made for this browser, or it is out of date")
	}
	return who, nil
}

// find returns the pending request with the user code that was typed, or a fault
// with code "device_not_found".
func (e devicePage) find(r *http.Request, pool userpool.Pool, typed string) (userpool.Device, error) {
	code, ok := userpool.ParseUserCode(typed)
	if !ok {
		return userpool.Device{}, userpool.NotFound("device", "")
	}
	d, err := e.devices.DeviceByUserCode(r.Context(), pool.Name, code.Hash())
	if err == nil && (d.State != userpool.DevicePending || !e.Now().Before(d.ExpiresAt)) {
		return userpool.Device{}, userpool.NotFound("device", "")
	}
	return d, err
}

// decide takes the answer.
func (e devicePage) decide(w http.ResponseWriter, r *http.Request, pool userpool.Pool) error {
	ctx := r.Context()
	form, err := oauth.ParseForm(r, poolpage.MaxBody)
	if err != nil {
		return err
	}
	d, err := e.find(r, pool, form.Get("user_code"))
	if fault.HasCode(err, "device_not_found") {
		// Not told apart from a foreign form: this is no place to try codes at.
		return fault.Wrap(err, fault.Forbidden, "form_foreign", "the request was answered before, or has expired")
	}
	if err != nil {
		return err
	}
	who, err := e.person(r, pool, form, func(pool userpool.Pool, l login.Login) []string { return decisionPurpose(pool, l, d) })
	if err != nil {
		return err
	}
	d.UserID, d.AuthTime, d.Methods = who.User.ID, who.Session.AuthTime, who.Session.Methods
	switch form.Get("decision") {
	case "allow":
		d.State = userpool.DeviceAllowed
	case "deny":
		d.State = userpool.DeviceDenied
	default:
		return fault.New(fault.Invalid, "decision_missing", "the form has no decision").WithFix("choose allow or deny")
	}
	p, err := e.guard.Allow(ctx, who.Caller(), userpool.ActionDecideDevice, d.Resource())
	if err != nil {
		return err
	}
	if d.State == userpool.DeviceAllowed {
		if err := rememberConsent(ctx, e.consents, e.guard, who, d.ClientID, d.Scopes, e.Now()); err != nil {
			return err
		}
	}
	p = p.With("", d.Scopes, map[string]string{"client": d.ClientID, "decision": string(d.State), "address": d.Address})
	if err := e.devices.DecideDevice(ctx, p, d); err != nil {
		return err
	}
	e.Pages.Render(w, r, http.StatusOK, deviceNotice(e.Brand(pool), d))
	return nil
}

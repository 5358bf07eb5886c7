package consent

import (
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Ask is what an agent asks a user's authorization for.
type Ask struct {
	Kind     Kind
	Provider string
	Scopes   name.Scopes
	// Force has the third party ask the user again even if it would not.
	Force bool
	// Params are further parameters of the authorization request, such as
	// login_hint. They never replace one that Deputy, the vendor's entry or the
	// provider sets.
	Params map[string]string
	// ReturnURL is where the browser goes in the end: one of the workload's return
	// URLs, letter by letter, or "" for Deputy's own page.
	ReturnURL string
	// State comes back in the parameter "state" of ReturnURL, so that the
	// application there knows that the browser is the one that it sent away.
	State secret.Text
}

// Bounds of what an agent may add to an authorization, and of a workload's return URL.
const (
	maxParams     = 10
	maxParamValue = 2048
	maxState      = 4096
)

var paramName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// check returns a fault of kind Invalid that names what is wrong. allowed are
// the workload's return URLs.
func (a Ask) check(allowed []string) error {
	if len(a.Params) > maxParams {
		return fault.New(fault.Invalid, "parameter_invalid", "there are %d custom parameters, and at most %d are taken", len(a.Params), maxParams).WithSource("parameters")
	}
	for _, k := range slices.Sorted(maps.Keys(a.Params)) {
		if v := a.Params[k]; !paramName.MatchString(k) || v == "" || len(v) > maxParamValue {
			return fault.New(fault.Invalid, "parameter_invalid", "the custom parameter %q has a name or a value that cannot be sent", name.Clip(k, 64)).
				WithSource("parameters").WithFix("use letters, digits, '_', '-' and '.' in names, and values of 1 to %d bytes", maxParamValue)
		}
	}
	if len(a.State.Reveal()) > maxState {
		return fault.New(fault.Invalid, "state_invalid", "the custom state has more than %d bytes", maxState).WithSource("state")
	}
	if a.ReturnURL == "" {
		if !a.State.Empty() {
			return fault.New(fault.Invalid, "return_url_missing", "there is a custom state, and no return URL that it could come back to").WithSource("returnUrl")
		}
		return nil
	}
	if !slices.Contains(allowed, a.ReturnURL) {
		return fault.New(fault.Invalid, "return_url_not_allowed", "%s is not a return URL of this workload", name.Clip(a.ReturnURL, 200)).
			WithSource("returnUrl").WithFix("register exactly this URL with the workload, or use one of its %d", len(allowed))
	}
	return nil
}

// extras tells asks apart that differ in more than kind, provider and scopes:
// a pending authorization is shown again only for the same ask.
func (a Ask) extras() (string, error) {
	if !a.Force && len(a.Params) == 0 && a.ReturnURL == "" && a.State.Empty() {
		return "", nil
	}
	b, err := json.Marshal([]any{a.Force, a.Params, a.ReturnURL, a.State.Reveal()}) // maps are written in the order of their keys
	if err != nil {
		return "", err
	}
	return secret.New(b).Digest("authorization-extras").String(), nil
}

// returnURL adds to s's return URL how a ended. It is "" if there is none.
func (s secrets) returnURL(a Authorization) (string, error) {
	if s.ReturnURL == "" {
		return "", nil
	}
	u, err := url.Parse(s.ReturnURL)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("authorization", a.ID)
	q.Set("status", string(a.State))
	if a.State != Completed {
		q.Set("error", a.Reason)
	}
	if len(s.State) > 0 {
		q.Set("state", string(s.State))
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

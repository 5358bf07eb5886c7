package oauth

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/wire"
)

// maxParameters bounds the parameters of one request.
const maxParameters = 100

// ParseForm reads the parameters of a token-like request: a POST with an
// application/x-www-form-urlencoded body of at most limit bytes. Parameters in
// the URL are not read: a secret there would end in somebody's log (RFC 6749,
// section 2.3.1). A parameter without value counts as not sent, and one that
// is sent twice is refused (sections 3.1 and 3.2), unless it is named in
// repeatable, as resource of RFC 8707 and audience of RFC 8693 may be.
//
// It returns a fault of kind Invalid (form_invalid, form_parameter_repeated) or
// TooLarge (body_too_large).
func ParseForm(r *http.Request, limit int64, repeatable ...string) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, fault.New(fault.Invalid, "form_invalid", "the request is not a POST").WithFix("send the parameters in the body of a POST")
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, fault.New(fault.Invalid, "form_invalid", "the body is not a form").WithFix("send Content-Type: application/x-www-form-urlencoded")
	}
	body, err := wire.ReadAll(r.Body, limit)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	return ParseQuery(string(body), repeatable...)
}

// ParseQuery reads the parameters of an authorization request from a raw query,
// under the rules of [ParseForm].
func ParseQuery(query string, repeatable ...string) (url.Values, error) {
	parsed, err := url.ParseQuery(query)
	if err != nil { // its text quotes the parameter
		return nil, fault.New(fault.Invalid, "form_invalid", "the parameters are not URL-encoded")
	}
	if len(parsed) > maxParameters {
		return nil, fault.New(fault.Invalid, "form_invalid", "there are more than %d parameters", maxParameters)
	}
	values := url.Values{}
	for key, sent := range parsed {
		for _, v := range sent {
			if !utf8.ValidString(key) || !utf8.ValidString(v) {
				return nil, fault.New(fault.Invalid, "form_invalid", "a parameter is not valid UTF-8")
			}
		}
		if len(sent) > 1 && !slices.Contains(repeatable, key) {
			return nil, fault.New(fault.Invalid, "form_parameter_repeated", "parameter %q is sent more than once", name.Clip(key, 80))
		}
		if sent = slices.DeleteFunc(sent, func(v string) bool { return v == "" }); len(sent) > 0 {
			values[key] = sent
		}
	}
	return values, nil
}

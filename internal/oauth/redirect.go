package oauth

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// maxURI bounds a redirect address in bytes.
const maxURI = 2000

// CheckRegistered returns a fault of kind Invalid (redirect_uri_invalid) unless
// uri may be registered as a redirect address: absolute, https (or http to a
// loopback host, RFC 8252, section 7.3), without user information, fragment
// (RFC 6749, section 3.1.2) and wildcard, in plain ASCII, at most 2000 bytes.
func CheckRegistered(uri string) error {
	if why := wrongRedirect(uri); why != "" {
		return fault.New(fault.Invalid, "redirect_uri_invalid", "the redirect URI %q %s", name.Clip(uri, 200), why).
			WithFix("use an absolute https:// address (http:// only for localhost, 127.0.0.1 and [::1]), written exactly as it will be sent")
	}
	return nil
}

func wrongRedirect(uri string) string {
	if len(uri) > maxURI {
		return "is too long"
	}
	// Browsers and parsers disagree about backslashes, blanks and everything
	// outside ASCII, so none of it gets as far as a comparison.
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c > '~' || c == '\\' || c == '"' || c == '<' || c == '>' {
			return "contains a character that an address does not have"
		}
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "is not an address"
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "" || u.Hostname() == "":
		return "is not an absolute http or https address"
	case u.User != nil:
		return "contains user information"
	case strings.Contains(uri, "#"):
		return "contains a fragment"
	case strings.Contains(uri, "*"):
		return "contains a wildcard"
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return "is plain http to another machine"
	default:
		return ""
	}
}

// Loopback reports whether host names this machine: localhost or a loopback
// address.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Registered reports whether uri is, byte for byte, one of the registered
// addresses (RFC 9700, section 4.1.3). There is no pattern and no normal form,
// with one exception: a registered http address of a loopback host without a
// port stands for that address with any port, because an application on
// somebody's machine takes the port that is free (RFC 8252, section 7.3).
func Registered(registered []string, uri string) bool {
	if uri == "" {
		return false
	}
	anyPort := withoutPort(uri)
	return slices.ContainsFunc(registered, func(r string) bool { return r == uri || (anyPort != "" && r == anyPort) })
}

// withoutPort returns the loopback address uri without its port, and "" for
// anything that is not a loopback address with a port.
func withoutPort(uri string) string {
	if wrongRedirect(uri) != "" {
		return ""
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.Port() == "" || !Loopback(u.Hostname()) {
		return ""
	}
	return "http://" + strings.TrimSuffix(u.Host, ":"+u.Port()) + strings.TrimPrefix(uri, "http://"+u.Host)
}

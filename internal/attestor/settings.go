package attestor

import (
	"crypto/x509"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
)

// The bounds of settings, in bytes.
const (
	maxText      = 500
	maxURL       = 2000
	maxAuthority = 48 << 10
)

var visible = regexp.MustCompile(`^[\x21-\x7e]+$`)

func wrong(field, format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "attestor_invalid", format, args...).WithSource(field)
}

// check refuses settings that cannot be meant, and names the field.
func (s Settings) check() error {
	switch s.Kind {
	case Kubernetes:
		if err := s.checkCluster(); err != nil {
			return err
		}
	case SPIFFE:
		if err := s.checkDomain(); err != nil {
			return err
		}
	default:
		return wrong("kind", "there are no attestors of kind %q", name.Clip(string(s.Kind), 40)).WithFix("use %q or %q", Kubernetes, SPIFFE)
	}
	if s.Audience != "" && (len(s.Audience) > maxText || !visible.MatchString(s.Audience)) {
		return wrong("audience", "the audience is too long, or has characters that none has").WithFix("leave it out for Deputy's public URL")
	}
	for field, address := range map[string]string{"keysUrl": s.KeysURL, "bundleUrl": s.BundleURL, "server": s.Server} {
		if address != "" && badURL(address) {
			return wrong(field, "%q is not an address that can be asked", name.Clip(address, 200)).WithFix("give a whole https address without user and fragment (http on the loopback interface only)")
		}
	}
	if s.Authority != "" && (len(s.Authority) > maxAuthority || !x509.NewCertPool().AppendCertsFromPEM([]byte(s.Authority))) {
		return wrong("authority", "the certificate authority is not one in PEM").WithFix("give the certificate, from BEGIN CERTIFICATE to END CERTIFICATE; leave it out for those of the system")
	}
	return s.checkRules()
}

func (s Settings) checkCluster() error {
	switch {
	case s.Issuer == "" || len(s.Issuer) > maxText || !visible.MatchString(s.Issuer) || strings.HasPrefix(s.Issuer, attest.SPIFFEScheme):
		return wrong("issuer", "%q cannot be the issuer of a cluster", name.Clip(s.Issuer, 200)).WithFix("it is what its API server has for --service-account-issuer: kubectl get --raw /.well-known/openid-configuration")
	case s.BundleURL != "":
		return wrong("bundleUrl", "clusters have no trust bundle").WithFix("leave it out")
	case s.KeysURL != "" && s.Server != "":
		return wrong("keysUrl", "the API server has the keys").WithFix("leave out keysUrl or server")
	case s.KeysURL == "" && s.Server == "" && badURL(s.Issuer):
		return wrong("issuer", "there is no discovery document at %q", name.Clip(s.Issuer, 200)).WithFix("say where the keys are: keysUrl, or server for the API server")
	}
	u, err := url.Parse(s.Server)
	switch {
	case s.Server != "" && (err != nil || u.Path != "" || u.RawQuery != ""):
		return wrong("server", "%q is not an API server", name.Clip(s.Server, 200)).WithFix("write https://host:port")
	case s.Server != "" && (s.Reviewer.Empty() || len(s.Reviewer.Reveal()) > jwt.MaxToken || !visible.Match(s.Reviewer.Reveal())):
		return wrong("reviewerToken", "the API server is not asked without a token").WithFix("give that of a service account with the cluster role system:auth-delegator, without spaces and line breaks")
	case s.Server == "" && !s.Reviewer.Empty():
		return wrong("reviewerToken", "nobody is shown the reviewer's token").WithFix("give server too, or leave it out")
	}
	return nil
}

func (s Settings) checkDomain() error {
	domain, ok := strings.CutPrefix(s.Issuer, attest.SPIFFEScheme)
	switch {
	case !ok || !attest.IsTrustDomain(domain):
		return wrong("issuer", "%q is not a trust domain", name.Clip(s.Issuer, 200)).WithFix("write spiffe:// and its name, without a path")
	case (s.KeysURL == "") == (s.BundleURL == ""):
		return wrong("bundleUrl", "a trust domain's keys are at one address").WithFix("give either bundleUrl, of its bundle endpoint (https_web), or keysUrl, of a JWK set as SPIRE's OIDC discovery provider has it")
	case s.Server != "" || !s.Reviewer.Empty():
		return wrong("server", "nobody reviews JWT-SVIDs").WithFix("leave it out")
	}
	return nil
}

// badURL reports whether nobody can be asked there, or not without being overheard.
func badURL(s string) bool {
	u, err := url.Parse(s)
	return err != nil || u.Hostname() == "" || u.User != nil || strings.Contains(s, "#") || len(s) > maxURL ||
		u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname()))
}

// detail says in the audit log who is trusted, and with what.
func (s Settings) detail() map[string]string {
	rules := make([]string, len(s.Rules))
	for i, r := range s.Rules {
		rules[i] = r.Subject + " = " + r.Workload
	}
	return map[string]string{
		"kind": string(s.Kind), "issuer": s.Issuer, "server": s.Server, "reviewed": strconv.FormatBool(s.Server != ""),
		"rules": name.Clip(strings.Join(rules, ", "), 2000),
	}
}

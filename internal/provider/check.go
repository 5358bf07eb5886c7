package provider

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/vendor"
)

// The bounds of settings.
const (
	maxSecret    = 8 << 10 // bytes of a key, password or client secret
	maxWorkloads = 500
	maxParams    = 20
	maxPolicy    = 2048 // characters that clouds take
	minLifetime  = 15 * time.Minute
	maxLifetime  = 12 * time.Hour
)

// withDefaults fills in what the settings leave to Deputy.
func (s Settings) withDefaults() Settings {
	if s.Type == "" {
		s.Type = TypeOAuth2
	}
	if s.Type == TypeOAuth2 && s.Flow == "" {
		s.Flow = UserFederation
	}
	if s.MCPServer != "" && s.Vendor == "" && s.Type == TypeOAuth2 {
		s.Vendor = VendorMCP
	}
	if s.Flow == OnBehalfOf && s.Options.Assertion == "" {
		s.Options.Assertion = TokenExchange
	}
	if s.Type == TypeAPIKey && s.Options.Header == "" {
		s.Options.Header = "Authorization"
		if s.Options.Prefix == "" {
			s.Options.Prefix = "Bearer "
		}
	}
	return s
}

// check returns a fault of kind Invalid that names the first field that is
// wrong, missing, or of no meaning for the type.
func (r *Registry) check(s Settings) error {
	if err := s.Options.checkWorkloads(); err != nil {
		return err
	}
	if len(s.ClientSecret.Reveal()) > maxSecret {
		return fault.New(fault.Invalid, "secret_invalid", "the secret is longer than %d bytes", maxSecret).WithSource(secretField(s.Type))
	}
	for field, given := range s.foreign() {
		if given {
			return fault.New(fault.Invalid, "field_not_for_type", "%s is not for providers of type %s", field, s.Type).WithSource(field).WithFix("leave it out")
		}
	}
	for field, given := range map[string]bool{"authorizationServer": s.AuthorizationServer != "", "initialAccessToken": !s.InitialToken.Empty(), "rediscover": s.Rediscover} {
		if given && s.MCPServer == "" {
			return fault.New(fault.Invalid, "field_not_for_type", "%s is for providers of MCP servers", field).WithSource(field).WithFix("leave it out, or give mcpServer")
		}
	}
	if err := s.Type.Check(); err != nil {
		return err
	}
	switch s.Type {
	case TypeOAuth2:
		return r.checkOAuth2(s)
	case TypeAPIKey:
		return s.checkAPIKey()
	case TypeBasic:
		return s.checkBasic()
	default:
		return s.checkSTS()
	}
}

// foreign tells which fields are given that mean nothing for the type.
func (s Settings) foreign() map[string]bool {
	o := s.Options
	f := map[string]bool{}
	if s.Type != TypeOAuth2 {
		maps.Copy(f, map[string]bool{"vendor": s.Vendor != "", "flow": s.Flow != "", "scopes": s.Scopes.Len() > 0, "endpoints": s.Endpoints != vendor.Endpoints{},
			"discoveryUrl": s.DiscoveryURL != "", "callbackUrl": s.CallbackURL != "", "parameters": len(o.Params) > 0, "authMethod": o.AuthMethod != "", "ownCallback": o.OwnCallback, "device": o.Device})
	}
	f["mcpServer"] = s.Type != TypeOAuth2 && s.MCPServer != ""
	if s.Flow != M2M && s.Flow != OnBehalfOf {
		maps.Copy(f, map[string]bool{"audience": o.Audience != "", "resource": o.Resource != ""})
	} else {
		maps.Copy(f, map[string]bool{"callbackUrl": s.CallbackURL != "", "parameters": len(o.Params) > 0, "ownCallback": o.OwnCallback, "device": o.Device})
	}
	f["assertion"] = f["assertion"] || s.Flow != OnBehalfOf && o.Assertion != ""
	if s.Type != TypeAPIKey {
		f["apiKey"] = o.Header != "" || o.Prefix != ""
	} else {
		f["clientId"] = s.ClientID != ""
	}
	if s.Type != TypeSTS {
		f["sts"] = o.STS != nil
	}
	return f
}

// secretField is what the type's secret is called where operators write it.
func secretField(t Type) string {
	return map[Type]string{TypeOAuth2: "clientSecret", TypeAPIKey: "apiKey.key", TypeBasic: "basic.password", TypeSTS: "sts.secretAccessKey"}[t]
}

func (o Options) checkWorkloads() error {
	if len(o.Workloads) > maxWorkloads {
		return fault.New(fault.Invalid, "workloads_invalid", "more than %d workloads are listed", maxWorkloads).WithSource("workloads").WithFix("leave the list out to let all of the pool use it")
	}
	for i, w := range o.Workloads {
		if err := name.Check("workload", w); err != nil {
			return fault.As(err).WithSource("workloads")
		}
		if slices.Contains(o.Workloads[:i], w) {
			return fault.New(fault.Invalid, "workloads_invalid", "workload %q is listed twice", w).WithSource("workloads").WithFix("list it once")
		}
	}
	return nil
}

func (r *Registry) checkOAuth2(s Settings) error {
	if s.Flow != UserFederation && s.Flow != M2M && s.Flow != OnBehalfOf {
		return fault.New(fault.Invalid, "flow_unknown", "there is no flow %q", name.Clip(string(s.Flow), 40)).WithSource("flow").
			WithFix("use %q, %q or %q", UserFederation, M2M, OnBehalfOf)
	}
	if err := s.checkClient(); err != nil {
		return err
	}
	if s.CallbackURL != "" && s.CallbackURL != r.CallbackURL {
		return fault.New(fault.Invalid, "callback_url_wrong", "%q is not the address to which third parties must send people back", name.Clip(s.CallbackURL, 200)).
			WithSource("callbackUrl").WithFix("leave it out, and register %s at the third party: it points at Deputy, never at an agent or its runtime", r.CallbackURL)
	}
	entry, err := r.Catalogue.Lookup(s.Vendor)
	if err != nil {
		return err
	}
	if entry, err = entry.With(s.Options.endpoints(s.Endpoints)); err != nil {
		return err
	}
	if err := entry.CheckScopes(s.Scopes); err != nil {
		return err
	}
	if s.Flow != UserFederation {
		return s.checkTarget()
	}
	if s.Options.Device {
		return s.checkDevice(entry)
	}
	return r.checkParams(entry, s)
}

// checkClient checks the client, unless it is to be made when all else is right.
func (s Settings) checkClient() error {
	if s.registers() {
		return nil
	}
	if s.ClientID == "" || len(s.ClientID) > 512 {
		return fault.New(fault.Invalid, "client_id_invalid", "the client id is empty or too long").WithSource("clientId").
			WithFix("copy it from the third party's developer console")
	}
	return s.checkAuthMethod()
}

// checkDevice refuses what only a redirect could carry.
func (s Settings) checkDevice(entry vendor.Entry) error {
	if entry.Endpoints.DeviceAuthorization == "" {
		return fault.New(fault.Invalid, "device_unsupported", "vendor %q has no device authorization (RFC 8628)", entry.ID).WithSource("device").
			WithFix("leave it out, or give the third party's device authorization endpoint as endpoints.deviceAuthorization")
	}
	for field, given := range map[string]bool{"parameters": len(s.Options.Params) > 0, "ownCallback": s.Options.OwnCallback} {
		if given {
			return fault.New(fault.Invalid, "field_not_for_type", "%s has no meaning where users agree by a code", field).WithSource(field).WithFix("leave it out")
		}
	}
	return nil
}

// checkAuthMethod checks how the client proves itself, and that it can.
func (s Settings) checkAuthMethod() error {
	o := s.Options.AuthMethod
	if !slices.Contains([]vendor.Auth{"", vendor.AuthPost, vendor.AuthBasic, vendor.AuthNone, vendor.AuthPrivateKeyJWT}, o) {
		return fault.New(fault.Invalid, "auth_method_unknown", "there is no client authentication %q", name.Clip(string(o), 40)).WithSource("authMethod").
			WithFix("use %s, %s, %s or %s, or leave it out for the vendor's", vendor.AuthBasic, vendor.AuthPost, vendor.AuthPrivateKeyJWT, vendor.AuthNone)
	}
	keyless := o != vendor.AuthNone && o != vendor.AuthPrivateKeyJWT
	switch {
	case keyless && s.ClientSecret.Empty():
		return fault.New(fault.Invalid, "client_secret_missing", "the provider has no client secret").
			WithSource("clientSecret").WithFix("copy it from the third party's developer console")
	case o == vendor.AuthNone && s.Flow == M2M:
		return fault.New(fault.Invalid, "auth_method_unknown", "a client that proves nothing gets no token of its own (RFC 6749, section 4.4)").WithSource("authMethod")
	}
	return nil
}

// checkTarget checks what tokens of flows without a user's consent are for.
func (s Settings) checkTarget() error {
	o := s.Options
	if len(o.Audience) > 500 || o.Audience != "" && !visible.MatchString(o.Audience) {
		return fault.New(fault.Invalid, "audience_invalid", "the audience is too long, or has characters that none has").WithSource("audience")
	}
	if u, err := url.Parse(o.Resource); o.Resource != "" && (err != nil || !u.IsAbs() || u.Fragment != "" || len(o.Resource) > 2000) {
		return fault.New(fault.Invalid, "resource_invalid", "the resource is not an absolute address without fragment (RFC 8707, section 2)").WithSource("resource")
	}
	if s.Flow == OnBehalfOf && o.Assertion != TokenExchange && o.Assertion != JWTBearer {
		return fault.New(fault.Invalid, "assertion_unknown", "there is no assertion %q", name.Clip(string(o.Assertion), 40)).WithSource("assertion").
			WithFix("use %q or %q", TokenExchange, JWTBearer)
	}
	return nil
}

// checkParams has the vendor's entry make a request with the operator's
// parameters: those that the request has already are not for operators either.
func (r *Registry) checkParams(entry vendor.Entry, s Settings) error {
	if len(s.Options.Params) > maxParams {
		return fault.New(fault.Invalid, "parameter_invalid", "there are %d parameters, and at most %d are taken", len(s.Options.Params), maxParams).WithSource("parameters")
	}
	for _, k := range slices.Sorted(maps.Keys(s.Options.Params)) {
		if v := s.Options.Params[k]; !paramName.MatchString(k) || v == "" || len(v) > 500 {
			return fault.New(fault.Invalid, "parameter_invalid", "the parameter %q is none", name.Clip(k, 64)).WithSource("parameters")
		}
	}
	if s.Options.MCP != nil {
		entry = s.Options.MCP.speak(entry, s.Scopes)
	}
	_, err := entry.AuthorizeURL(vendor.App{ClientID: cmp.Or(s.ClientID, "to be registered"), RedirectURI: r.CallbackURL},
		vendor.Ask{Scopes: s.Scopes, State: "state", CodeChallenge: "challenge", Params: s.Options.Params})
	return err
}

var (
	paramName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)
	headerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
	visible    = regexp.MustCompile(`^[\x21-\x7e]+$`)
	region     = regexp.MustCompile(`^[a-z][a-z0-9-]{1,39}$`)
	role       = regexp.MustCompile(`^(trn|arn):[A-Za-z0-9+=,.@_:/-]{5,500}$`)
	keyID      = regexp.MustCompile(`^[A-Za-z0-9_=-]{8,128}$`)
)

// hopHeaders are headers that belong to a connection or say what a body is: a
// key in them would break the request, or be dropped on the way.
func hopHeaders() []string {
	return []string{"connection", "content-length", "content-type", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
}

func (s Settings) checkAPIKey() error {
	switch {
	case !visible.Match(s.ClientSecret.Reveal()):
		return fault.New(fault.Invalid, "secret_invalid", "the key is empty, or has characters that no header takes").WithSource("apiKey.key").
			WithFix("copy it from the third party's console, without spaces and line breaks")
	case !headerName.MatchString(s.Options.Header) || slices.Contains(hopHeaders(), strings.ToLower(s.Options.Header)):
		return fault.New(fault.Invalid, "header_invalid", "a key cannot be sent in the header %q", name.Clip(s.Options.Header, 64)).WithSource("apiKey.header").
			WithFix(`write for instance "Authorization" or "X-API-Key"`)
	case len(s.Options.Prefix) > 64 || s.Options.Prefix != "" && !visible.MatchString(strings.TrimSuffix(s.Options.Prefix, " ")):
		return fault.New(fault.Invalid, "header_invalid", "what stands before the key has characters that no header takes").WithSource("apiKey.prefix").
			WithFix(`write for instance "Bearer ", with the space`)
	}
	return nil
}

// checkBasic keeps to what RFC 7617, section 2, can carry.
func (s Settings) checkBasic() error {
	user := s.ClientID
	if user == "" || len(user) > 255 || strings.Contains(user, ":") || strings.ContainsFunc(user, control) {
		return fault.New(fault.Invalid, "username_invalid", "the user name is empty, too long, or has a colon or control characters").WithSource("basic.username")
	}
	if s.ClientSecret.Empty() || bytes.ContainsFunc(s.ClientSecret.Reveal(), control) {
		return fault.New(fault.Invalid, "secret_invalid", "the password is empty or has control characters").WithSource("basic.password").
			WithFix("give it without a line break at its end")
	}
	return nil
}

func control(r rune) bool { return r < 0x20 || r == 0x7f }

func (s Settings) checkSTS() error {
	wrong := func(field, format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "sts_invalid", format, args...).WithSource("sts." + field)
	}
	o := s.Options.STS
	switch {
	case o == nil:
		return fault.New(fault.Invalid, "sts_missing", "the provider says neither cloud nor role").WithSource("sts")
	case o.Cloud != Volcengine && o.Cloud != AWS:
		return wrong("cloud", "there is no cloud %q", name.Clip(string(o.Cloud), 40)).WithFix("use %q or %q", Volcengine, AWS)
	case !keyID.MatchString(s.ClientID):
		return wrong("accessKeyId", "the access key's id is not one").WithFix("copy it from the cloud's console")
	case !visible.Match(s.ClientSecret.Reveal()):
		return wrong("secretAccessKey", "the secret access key is empty, or has characters that none has").WithFix("copy it from the cloud's console")
	case !role.MatchString(o.Role):
		return wrong("role", "the role is not a TRN or ARN").WithFix(`write for instance "trn:iam::2100000001:role/agent" or "arn:aws:iam::123456789012:role/agent"`)
	case strings.HasPrefix(o.Role, "arn:") != (o.Cloud == AWS):
		return wrong("role", "the role is another cloud's than %s's", o.Cloud)
	case o.Region != "" && !region.MatchString(o.Region):
		return wrong("region", "the region %q is none", name.Clip(o.Region, 60)).WithFix(`write for instance "cn-beijing" or "us-east-1"`)
	case o.ExternalID != "" && (o.Cloud != AWS || len(o.ExternalID) > 1224 || !visible.MatchString(o.ExternalID)):
		return wrong("externalId", "the external id is not one, or not for this cloud")
	case o.Lifetime != 0 && (o.Lifetime < minLifetime || o.Lifetime > maxLifetime):
		return wrong("lifetime", "the keys' lifetime is not between %s and %s", minLifetime, maxLifetime)
	}
	if u, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname())) ||
		u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "") {
		return wrong("endpoint", "the endpoint is not the https address of a host").WithFix(`write for instance "https://sts.volcengineapi.com"`)
	}
	return o.checkPolicies(wrong)
}

// checkPolicies checks the form only: what a policy means is the cloud's to judge.
func (o STS) checkPolicies(wrong func(field, format string, args ...any) *fault.Error) error {
	check := func(field string, p json.RawMessage) error {
		var object map[string]json.RawMessage
		if len(p) > maxPolicy || json.Unmarshal(p, &object) != nil || len(object) == 0 {
			return wrong(field, "the policy is not a JSON object of at most %d characters", maxPolicy)
		}
		return nil
	}
	if len(o.Policy) > 0 {
		if err := check("policy", o.Policy); err != nil {
			return err
		}
	}
	if len(o.Policies) > maxWorkloads {
		return wrong("policies", "there are more than %d policies", maxWorkloads)
	}
	for _, w := range slices.Sorted(maps.Keys(o.Policies)) {
		if err := name.Check("workload", w); err != nil {
			return fault.As(err).WithSource("sts.policies")
		}
		if err := check("policies."+w, o.Policies[w]); err != nil {
			return err
		}
	}
	return nil
}

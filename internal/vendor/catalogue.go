// Package vendor has the catalogue of third parties as data, and the client that speaks every dialect.
//
// catalogue.yaml says what is special about each third party; its head
// describes the schema. Nothing in this package asks which vendor it talks to.
package vendor

import (
	"bytes"
	"embed"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"go.yaml.in/yaml/v3"
)

// builtin is catalogue.yaml, which has the schema, and the files that extend it.
//
//go:embed catalogue.yaml catalogue/*.yaml
var builtin embed.FS

// maxCatalogue bounds a catalogue file in bytes.
const maxCatalogue = 1 << 20

// Catalogue holds the entries of all known vendors. It is immutable.
type Catalogue struct {
	entries map[string]Entry // as written, without defaults
	common  []Code           // of the RFCs
}

// Entry is what is known about one vendor; see catalogue.yaml for the meaning
// of each field.
type Entry struct {
	ID            string              `yaml:"-"`
	Name          Words               `yaml:"name"`
	Docs          string              `yaml:"docs"`
	Endpoints     Endpoints           `yaml:"endpoints"`
	Authorize     Authorize           `yaml:"authorize"`
	Token         Token               `yaml:"token"`
	Rotation      Rotation            `yaml:"rotation"`
	RefreshScope  string              `yaml:"refreshScope"`
	Grants        Grants              `yaml:"grants"`
	Cumulative    bool                `yaml:"cumulative"`
	Resource      bool                `yaml:"resource"`
	Identity      Identity            `yaml:"identity"`
	Test          Test                `yaml:"test"`
	Proof         Proof               `yaml:"proof"`
	Revocation    Revocation          `yaml:"revocation"`
	Introspection Introspection       `yaml:"introspection"`
	Header        map[string]string   `yaml:"header"`
	Errors        Errors              `yaml:"errors"`
	Codes         []Code              `yaml:"codes"`
	Scopes        []Scope             `yaml:"scopes"`
	RefusedScopes []Refused           `yaml:"refusedScopes"`
	Includes      map[string][]string `yaml:"includes"`
	Console       Words               `yaml:"console"`

	common []Code // of the RFCs
}

// Words is a text in English and Chinese.
type Words struct {
	EN string `yaml:"en" json:"en"`
	ZH string `yaml:"zh" json:"zh"`
}

// Endpoints are a vendor's addresses. Where one begins with "{base}", Base
// stands there.
type Endpoints struct {
	Base                string `yaml:"base" json:"base,omitempty"`
	Authorization       string `yaml:"authorization" json:"authorization,omitempty"`
	Token               string `yaml:"token" json:"token,omitempty"`
	Refresh             string `yaml:"refresh" json:"refresh,omitempty"`
	DeviceAuthorization string `yaml:"deviceAuthorization" json:"deviceAuthorization,omitempty"`
	UserInfo            string `yaml:"userInfo" json:"userInfo,omitempty"`
	Revocation          string `yaml:"revocation" json:"revocation,omitempty"`
	Introspection       string `yaml:"introspection" json:"introspection,omitempty"`
	API                 string `yaml:"api" json:"api,omitempty"`
}

// Authorize says how the browser is sent to the vendor.
type Authorize struct {
	ScopeParam     string            `yaml:"scopeParam"`
	ScopeSeparator string            `yaml:"scopeSeparator"`
	Params         map[string]string `yaml:"params"`
	ForceParams    map[string]string `yaml:"forceParams"`
	PKCE           string            `yaml:"pkce"`
	CodeParam      string            `yaml:"codeParam"`
}

// Token says how the token endpoint is asked and how it answers.
type Token struct {
	Auth             Auth              `yaml:"auth"`
	Body             Body              `yaml:"body"`
	ContentType      string            `yaml:"contentType"`
	Params           map[string]string `yaml:"params"`
	Names            map[string]string `yaml:"names"`
	SendScopes       bool              `yaml:"sendScopes"`
	CodeFirst        bool              `yaml:"codeFirst"`
	Set              string            `yaml:"set"`
	AccessToken      string            `yaml:"accessToken"`
	RefreshToken     string            `yaml:"refreshToken"`
	TokenType        string            `yaml:"tokenType"`
	Scope            string            `yaml:"scope"`
	ScopeSeparators  string            `yaml:"scopeSeparators"`
	ExpiresIn        string            `yaml:"expiresIn"`
	ExpiresAt        string            `yaml:"expiresAt"`
	RefreshExpiresIn string            `yaml:"refreshExpiresIn"`
	Lifetime         time.Duration     `yaml:"lifetime"`
}

// Identity says how the userInfo endpoint is asked, and where its answer names
// the account.
type Identity struct {
	ID     string `yaml:"id"`
	Name   string `yaml:"name"`
	Method string `yaml:"method"`
	Body   string `yaml:"body"`
}

// Test is a request that works with every access token of a vendor that works
// at all.
type Test struct {
	URL    string `yaml:"url"`
	Method string `yaml:"method"`
	Body   string `yaml:"body"`
	OK     string `yaml:"ok"`
}

// Proof is a request in which the app proves itself and that has no other end.
type Proof struct {
	URL   string            `yaml:"url"`
	Names map[string]string `yaml:"names"`
	OK    string            `yaml:"ok"`
}

// Revocation says how a vendor is told that tokens are not needed any more.
type Revocation struct {
	Method string            `yaml:"method"`
	Auth   Auth              `yaml:"auth"`
	Body   Body              `yaml:"body"`
	Params map[string]string `yaml:"params"`
	Param  string            `yaml:"param"`
	Hint   bool              `yaml:"hint"`
	Which  Which             `yaml:"which"`
	All    bool              `yaml:"all"`
	Gone   []string          `yaml:"gone"`
}

// Introspection says how a vendor is asked about a token.
type Introspection struct {
	Auth  Auth   `yaml:"auth"`
	Body  Body   `yaml:"body"`
	Param string `yaml:"param"`
	Scope string `yaml:"scope"`
}

// Errors says where an answer tells that it is an error.
type Errors struct {
	Code        []string `yaml:"code"`
	Error       []string `yaml:"error"`
	OK          string   `yaml:"ok"`
	Description []string `yaml:"description"`
}

// Code says what some codes or error words of a vendor mean.
type Code struct {
	Codes []string `yaml:"codes"`
	At    []Step   `yaml:"at"`
	Class Class    `yaml:"class"`
	What  Words    `yaml:"what"`
	Fix   Words    `yaml:"fix"`
}

// Scope is a scope that people commonly need.
type Scope struct {
	Scope string `yaml:"scope"`
	What  Words  `yaml:"what"`
}

// Refused is a scope that can never work at a vendor.
type Refused struct {
	Scope string `yaml:"scope"`
	Why   Words  `yaml:"why"`
}

// Auth is how the client proves itself at the token endpoint.
type Auth string

// Body is how parameters are sent to the token endpoint.
type Body string

// Rotation is what happens to the old tokens when a refresh token is used.
type Rotation string

// Grants is how many grants of one user to one client live at a time.
type Grants string

// Which says which tokens of a grant are revoked.
type Which string

// Step is the moment in which a vendor answers.
type Step string

// The values that the catalogue's enumerations take.
const (
	AuthPost          Auth = "post"
	AuthBasic         Auth = "basic"
	AuthNone          Auth = "none"
	AuthBearer        Auth = "bearer"
	AuthAnonymous     Auth = "anonymous"
	AuthPrivateKeyJWT Auth = "private_key_jwt"

	BodyForm Body = "form"
	BodyJSON Body = "json"

	RotationNone       Rotation = "none"
	RotationRotate     Rotation = "rotate"
	RotationKillAccess Rotation = "rotate-and-kill-access"

	GrantsOne  Grants = "one"
	GrantsMany Grants = "many"

	WhichRefresh Which = "refresh"
	WhichAccess  Which = "access"
	WhichBoth    Which = "both"

	StepAuthorize Step = "authorize"
	StepExchange  Step = "exchange"
	StepRefresh   Step = "refresh"
	StepAPI       Step = "api"
	StepRevoke    Step = "revoke"
	StepMachine   Step = "machine"
	StepBehalf    Step = "behalf"
	StepDevice    Step = "device"
	StepProof     Step = "proof"

	pkceNone = "none"

	codeParam = "code" // RFC 6749, section 4.1.2
)

// Builtin returns the catalogue that is compiled in.
func Builtin() (Catalogue, error) {
	more, err := fs.Glob(builtin, "catalogue/*.yaml")
	if err != nil {
		return Catalogue{}, err
	}
	var c Catalogue
	for _, file := range append([]string{"catalogue.yaml"}, more...) {
		b, err := builtin.ReadFile(file)
		if err != nil {
			return Catalogue{}, err
		}
		if c, err = c.With(b); err != nil {
			return Catalogue{}, err
		}
	}
	return c, nil
}

// Parse reads a catalogue that builds on no other; see [Catalogue.With].
func Parse(b []byte) (Catalogue, error) { return Catalogue{}.With(b) }

// With returns c with the entries of a further catalogue file, which add to
// those of c or take their place. An entry may extend one of c: members that it
// names are changed, those of maps one by one, lists as a whole. With returns a
// fault of kind Invalid (vendor_catalogue_invalid) that names the place, for
// unknown keys also.
func (c Catalogue) With(b []byte) (Catalogue, error) {
	if len(b) > maxCatalogue {
		return Catalogue{}, fault.New(fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is larger than %d bytes", maxCatalogue)
	}
	var strict struct { // says in which line something is that cannot be
		Codes   []Code           `yaml:"codes"`
		Vendors map[string]draft `yaml:"vendors"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&strict); err != nil {
		return Catalogue{}, fault.Wrap(err, fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is malformed: %s", name.Clip(err.Error(), 300))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Catalogue{}, fault.New(fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is more than one document")
	}
	if err := checkCodes("codes", strict.Codes); err != nil {
		return Catalogue{}, err
	}
	to := Catalogue{map[string]Entry{}, c.common}
	maps.Copy(to.entries, c.entries)
	if strict.Codes != nil {
		to.common = strict.Codes
	}
	for _, id := range slices.Sorted(maps.Keys(strict.Vendors)) {
		d := strict.Vendors[id]
		e := d.Entry
		if base := d.Extends; base != "" {
			from, ok := c.entries[base]
			if !ok {
				return Catalogue{}, invalid("vendors."+id+".extends", "names an entry that is not there before this file: "+
					name.DidYouMean(base, slices.Sorted(maps.Keys(c.entries)), "leave it out"))
			}
			over := written{Entry: from.clone()}
			if err := d.again(&over); err != nil {
				return Catalogue{}, fault.Wrap(err, fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is malformed: %s", name.Clip(err.Error(), 300))
			}
			e = over.Entry
		}
		e.ID, e.common = id, to.common
		if err := e.check(); err != nil {
			return Catalogue{}, err
		}
		to.entries[id] = e
	}
	return to, nil
}

// written is an entry as a catalogue file has it.
type written struct {
	Extends string `yaml:"extends"`
	Entry   `yaml:",inline"`
}

// draft is a written entry that can be decoded once more, over the entry that it
// extends, which is not known when it is read. Reading the file a second time for
// that took a third of the time in which the program starts.
type draft struct {
	written
	again func(into any) error
}

// UnmarshalYAML implements the decoder's interface of the two that keeps its
// strictness: a yaml.Node decodes itself without.
func (d *draft) UnmarshalYAML(decode func(into any) error) error {
	d.again = decode
	return decode(&d.written)
}

// clone returns e with maps of its own.
func (e Entry) clone() Entry {
	for _, m := range []*map[string]string{
		&e.Authorize.Params, &e.Authorize.ForceParams, &e.Token.Params, &e.Token.Names, &e.Proof.Names, &e.Revocation.Params, &e.Header,
	} {
		*m = maps.Clone(*m)
	}
	e.Includes = maps.Clone(e.Includes)
	return e
}

// IDs returns the ids of all entries, sorted.
func (c Catalogue) IDs() []string { return slices.Sorted(maps.Keys(c.entries)) }

// CodeParams returns the parameters of the callback in which vendors send an
// authorization code, the standard one first.
func (c Catalogue) CodeParams() []string {
	params := []string{codeParam}
	for _, id := range c.IDs() {
		if p := c.entries[id].Authorize.CodeParam; p != "" && !slices.Contains(params, p) {
			params = append(params, p)
		}
	}
	return params
}

// Lookup returns the entry with the given id, or a fault of kind Invalid
// (vendor_unknown) that names near matches.
func (c Catalogue) Lookup(id string) (Entry, error) {
	e, ok := c.entries[id]
	if !ok {
		return Entry{}, fault.New(fault.Invalid, "vendor_unknown", "there is no vendor %q", name.Clip(id, 80)).
			WithFix("%s", name.DidYouMean(id, c.IDs(), `use "custom" and give its endpoints`))
	}
	return e.withDefaults(), nil
}

// withDefaults returns e with everything said that the catalogue may leave out.
func (e Entry) withDefaults() Entry {
	for _, d := range []struct {
		to    *string
		value string
	}{
		{&e.Authorize.ScopeParam, "scope"}, {&e.Authorize.ScopeSeparator, " "}, {&e.Authorize.CodeParam, codeParam},
		{&e.Token.ScopeSeparators, " "}, {&e.Token.ContentType, e.Token.Body.mediaType()},
		{&e.Identity.Method, http.MethodGet}, {&e.Test.Method, http.MethodGet},
		{&e.Revocation.Method, http.MethodPost}, {(*string)(&e.Revocation.Auth), string(e.Token.Auth)}, {(*string)(&e.Revocation.Body), string(e.Token.Body)},
		{(*string)(&e.Revocation.Which), string(WhichRefresh)},
		{(*string)(&e.Introspection.Auth), string(e.Token.Auth)}, {(*string)(&e.Introspection.Body), string(e.Token.Body)}, {&e.Introspection.Param, "token"},
		{(*string)(&e.Grants), string(GrantsMany)},
	} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	if e.Revocation.Param == "" && e.Revocation.Auth != AuthBearer {
		e.Revocation.Param = "token"
	}
	return e
}

func (b Body) mediaType() string {
	if b == BodyJSON {
		return "application/json"
	}
	return "application/x-www-form-urlencoded"
}

// Package vendor has the catalogue of third parties as data, and the client that speaks every dialect.
//
// catalogue.yaml says what is special about each third party; its head
// describes the schema. Nothing in this package asks which vendor it talks to.
package vendor

import (
	"bytes"
	_ "embed"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"go.yaml.in/yaml/v3"
)

//go:embed catalogue.yaml
var catalogueYAML []byte

// maxCatalogue bounds a catalogue file in bytes.
const maxCatalogue = 1 << 20

// Catalogue holds the entries of all known vendors. It is immutable.
type Catalogue struct{ entries map[string]Entry }

// Entry is what is known about one vendor; see catalogue.yaml for the meaning
// of each field.
type Entry struct {
	ID            string    `yaml:"-"`
	Name          Words     `yaml:"name"`
	Docs          string    `yaml:"docs"`
	Endpoints     Endpoints `yaml:"endpoints"`
	Authorize     Authorize `yaml:"authorize"`
	Token         Token     `yaml:"token"`
	Rotation      Rotation  `yaml:"rotation"`
	RefreshScope  string    `yaml:"refreshScope"`
	Identity      Identity  `yaml:"identity"`
	Errors        Errors    `yaml:"errors"`
	Codes         []Code    `yaml:"codes"`
	Scopes        []Scope   `yaml:"scopes"`
	RefusedScopes []Refused `yaml:"refusedScopes"`
	Console       Words     `yaml:"console"`

	common []Code // of the RFCs
}

// Words is a text in English and Chinese.
type Words struct {
	EN string `yaml:"en" json:"en"`
	ZH string `yaml:"zh" json:"zh"`
}

// Endpoints are a vendor's addresses.
type Endpoints struct {
	Authorization       string `yaml:"authorization" json:"authorization,omitempty"`
	Token               string `yaml:"token" json:"token,omitempty"`
	DeviceAuthorization string `yaml:"deviceAuthorization" json:"deviceAuthorization,omitempty"`
	UserInfo            string `yaml:"userInfo" json:"userInfo,omitempty"`
	API                 string `yaml:"api" json:"api,omitempty"`
}

// Authorize says how the browser is sent to the vendor.
type Authorize struct {
	ScopeParam     string            `yaml:"scopeParam"`
	ScopeSeparator string            `yaml:"scopeSeparator"`
	Params         map[string]string `yaml:"params"`
	ForceParams    map[string]string `yaml:"forceParams"`
	PKCE           string            `yaml:"pkce"`
}

// Token says how the token endpoint is asked and how it answers.
type Token struct {
	Auth             Auth              `yaml:"auth"`
	Body             Body              `yaml:"body"`
	ContentType      string            `yaml:"contentType"`
	Params           map[string]string `yaml:"params"`
	SendScopes       bool              `yaml:"sendScopes"`
	CodeFirst        bool              `yaml:"codeFirst"`
	AccessToken      string            `yaml:"accessToken"`
	RefreshToken     string            `yaml:"refreshToken"`
	TokenType        string            `yaml:"tokenType"`
	Scope            string            `yaml:"scope"`
	ScopeSeparators  string            `yaml:"scopeSeparators"`
	ExpiresIn        string            `yaml:"expiresIn"`
	RefreshExpiresIn string            `yaml:"refreshExpiresIn"`
	Lifetime         time.Duration     `yaml:"lifetime"`
}

// Identity says where the userInfo answer names the account.
type Identity struct {
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
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

// Step is the moment in which a vendor answers.
type Step string

// The values that the catalogue's enumerations take.
const (
	AuthPost          Auth = "post"
	AuthBasic         Auth = "basic"
	AuthNone          Auth = "none"
	AuthPrivateKeyJWT Auth = "private_key_jwt"

	BodyForm Body = "form"
	BodyJSON Body = "json"

	RotationNone       Rotation = "none"
	RotationRotate     Rotation = "rotate"
	RotationKillAccess Rotation = "rotate-and-kill-access"

	StepAuthorize Step = "authorize"
	StepExchange  Step = "exchange"
	StepRefresh   Step = "refresh"
	StepAPI       Step = "api"
	StepMachine   Step = "machine"
	StepBehalf    Step = "behalf"
	StepDevice    Step = "device"

	pkceNone = "none"
)

// Builtin returns the catalogue that is compiled in.
func Builtin() (Catalogue, error) { return Parse(catalogueYAML) }

// Parse reads a catalogue. It returns a fault of kind Invalid
// (vendor_catalogue_invalid) that names the place, for unknown keys also.
func Parse(b []byte) (Catalogue, error) {
	if len(b) > maxCatalogue {
		return Catalogue{}, fault.New(fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is larger than %d bytes", maxCatalogue)
	}
	var file struct {
		Codes   []Code           `yaml:"codes"`
		Vendors map[string]Entry `yaml:"vendors"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return Catalogue{}, fault.Wrap(err, fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is malformed: %s", name.Clip(err.Error(), 300))
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Catalogue{}, fault.New(fault.Invalid, "vendor_catalogue_invalid", "the vendor catalogue is more than one document")
	}
	if err := checkCodes("codes", file.Codes); err != nil {
		return Catalogue{}, err
	}
	c := Catalogue{map[string]Entry{}}
	for id, e := range file.Vendors {
		e.ID, e.common = id, file.Codes
		if err := e.check(); err != nil {
			return Catalogue{}, err
		}
		c.entries[id] = e.withDefaults()
	}
	return c, nil
}

// IDs returns the ids of all entries, sorted.
func (c Catalogue) IDs() []string { return slices.Sorted(maps.Keys(c.entries)) }

// Lookup returns the entry with the given id, or a fault of kind Invalid
// (vendor_unknown) that names near matches.
func (c Catalogue) Lookup(id string) (Entry, error) {
	e, ok := c.entries[id]
	if !ok {
		return Entry{}, fault.New(fault.Invalid, "vendor_unknown", "there is no vendor %q", name.Clip(id, 80)).
			WithFix("%s", name.DidYouMean(id, c.IDs(), `use "custom" and give its endpoints`))
	}
	return e, nil
}

func (e Entry) withDefaults() Entry {
	if e.Authorize.ScopeParam == "" {
		e.Authorize.ScopeParam = "scope"
	}
	if e.Authorize.ScopeSeparator == "" {
		e.Authorize.ScopeSeparator = " "
	}
	if e.Token.ScopeSeparators == "" {
		e.Token.ScopeSeparators = " "
	}
	if e.Token.ContentType == "" {
		e.Token.ContentType = map[Body]string{BodyForm: "application/x-www-form-urlencoded", BodyJSON: "application/json"}[e.Token.Body]
	}
	return e
}

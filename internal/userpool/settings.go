package userpool

import (
	"regexp"
	"slices"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/name"
)

// Settings are what an operator decides about a pool. A Settings is complete:
// begin with [DefaultSettings].
type Settings struct {
	Algorithm           string         `json:"algorithm"`           // that new signing keys are of: ES256, EdDSA or RS256
	KeyLifetime         time.Duration  `json:"keyLifetime"`         // after which a signing key is followed by a new one; 0: never by itself
	RefreshGrace        time.Duration  `json:"refreshGrace"`        // in which a refresh token may come a second time: an honest client's double send
	Password            PasswordPolicy `json:"password"`            //
	SecondFactor        FactorPolicy   `json:"secondFactor"`        //
	SignUp              bool           `json:"signUp"`              // anybody may make himself a user, by proving an e-mail address
	Recovery            bool           `json:"recovery"`            // a user may set a new password by proving his e-mail address
	DynamicRegistration bool           `json:"dynamicRegistration"` // clients may register themselves with an initial access token (RFC 7591)
	MetadataDocuments   bool           `json:"metadataDocuments"`   // a client_id may be the URL of a Client ID Metadata Document
	Open                OpenClients    `json:"open"`                // what clients that registered themselves or are documents may have
	Look                Look           `json:"look"`                //
}

// PasswordPolicy is what a pool asks of passwords.
type PasswordPolicy struct {
	MinLength      int  `json:"minLength"`      // characters; at least [MinPassword]
	History        int  `json:"history"`        // how many former passwords are refused
	RefuseBreached bool `json:"refuseBreached"` // those that are on a list of known ones are refused
}

// OpenClients is what clients that no operator made may have, besides the
// scopes of [KnownScopes]. A pool that is the authorization server of MCP servers
// names their scopes and resource URIs here.
type OpenClients struct {
	Scopes    []string `json:"scopes"`
	Audiences []string `json:"audiences"`
}

// FactorPolicy says whether users have a second factor.
type FactorPolicy string

// The policies for second factors.
const (
	FactorOff      FactorPolicy = "off"
	FactorOptional FactorPolicy = "optional" // who has one is asked for it
	FactorRequired FactorPolicy = "required" // who has none gets one at his next login
)

// The bounds of settings.
const (
	MaxRefreshGrace = time.Minute
	MinKeyLifetime  = 24 * time.Hour
	MaxHistory      = 24
)

// DefaultSettings returns the settings of a new pool.
func DefaultSettings() Settings {
	return Settings{
		Algorithm: jwt.ES256, KeyLifetime: 90 * 24 * time.Hour, RefreshGrace: 10 * time.Second,
		Password: PasswordPolicy{MinLength: MinPassword, RefuseBreached: true}, SecondFactor: FactorOptional,
	}
}

var colorShape = regexp.MustCompile(`^#[0-9a-f]{6}$`)

// Check returns a fault of kind Invalid unless a pool may have s.
func (s Settings) Check() error {
	if !slices.Contains(Algorithms(), s.Algorithm) {
		return fault.New(fault.Invalid, "algorithm_invalid", "a user pool cannot sign with %q", name.Clip(s.Algorithm, 40)).
			WithFix("choose from %v", Algorithms())
	}
	if s.KeyLifetime != 0 && s.KeyLifetime < MinKeyLifetime {
		return fault.New(fault.Invalid, "lifetime_invalid", "a signing key cannot live for %s", s.KeyLifetime).
			WithFix("choose at least %s, or 0 for keys that are rotated by hand", MinKeyLifetime)
	}
	if s.RefreshGrace < 0 || s.RefreshGrace > MaxRefreshGrace {
		return fault.New(fault.Invalid, "grace_invalid", "the grace for refresh tokens cannot be %s", s.RefreshGrace).
			WithFix("choose from 0s to %s", MaxRefreshGrace)
	}
	if s.Password.MinLength < MinPassword || s.Password.MinLength > 128 || s.Password.History < 0 || s.Password.History > MaxHistory {
		return fault.New(fault.Invalid, "password_policy_invalid", "a password policy cannot ask for %d characters and %d former passwords",
			s.Password.MinLength, s.Password.History).WithFix("choose %d to 128 characters, and 0 to %d former passwords", MinPassword, MaxHistory)
	}
	if !slices.Contains([]FactorPolicy{FactorOff, FactorOptional, FactorRequired}, s.SecondFactor) {
		return fault.New(fault.Invalid, "second_factor_invalid", "the policy %q for second factors is not known", name.Clip(string(s.SecondFactor), 40)).
			WithFix("choose %s, %s or %s", FactorOff, FactorOptional, FactorRequired)
	}
	if _, err := name.NewScopes(s.Open.Scopes...); err != nil {
		return err
	}
	if err := checkAudiences(s.Open.Audiences); err != nil {
		return err
	}
	return s.Look.check()
}

// Algorithms are those that a pool can sign with.
func Algorithms() []string { return []string{jwt.ES256, jwt.EdDSA, jwt.RS256} }

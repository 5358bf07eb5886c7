package factor

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"net/url"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/deputy-id/deputy/internal/fault"
)

// maxResponse bounds what a browser says for an authenticator, in bytes.
const maxResponse = 16 << 10

// RelyingParty is Deputy as WebAuthn sees it: one host, whose pools share the
// relying party id. What keeps the pools apart is that a credential is looked
// for in one pool only.
type RelyingParty struct {
	origin string
	lib    *webauthn.WebAuthn
}

// NewRelyingParty returns the relying party at publicURL, or nil if that has an
// IP address for its host: WebAuthn knows domains only, and so such a Deputy
// has no passkeys.
func NewRelyingParty(publicURL string) (*RelyingParty, error) {
	u, err := url.Parse(publicURL)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, nil
	}
	lib, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Deputy", RPOrigins: []string{publicURL},
		// Which device it is does not matter to us; that it verifies who holds it, and can be found
		// without a user name, does.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			UserVerification: protocol.VerificationRequired, ResidentKey: protocol.ResidentKeyRequirementRequired,
		},
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "relying_party_invalid", "passkeys cannot be used at %q", publicURL)
	}
	return &RelyingParty{origin: publicURL, lib: lib}, nil
}

// account is a user as the library wants to see one.
type account struct {
	owner       Owner
	name, title string
	passkeys    []Factor
}

func (a account) WebAuthnID() []byte          { return []byte(a.owner.UserID) }
func (a account) WebAuthnName() string        { return a.name }
func (a account) WebAuthnDisplayName() string { return a.title }

func (a account) WebAuthnCredentials() []webauthn.Credential {
	list := make([]webauthn.Credential, len(a.passkeys))
	for i, f := range a.passkeys {
		c := webauthn.Credential{ID: f.Credential.ID, PublicKey: f.Credential.PublicKey}
		c.Flags.BackupEligible = f.Credential.BackupEligible
		c.Authenticator.AAGUID, c.Authenticator.SignCount = f.Credential.AAGUID, uint32(f.Counter)
		for _, t := range f.Credential.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		list[i] = c
	}
	return list
}

func (a account) descriptors() []protocol.CredentialDescriptor {
	return webauthn.Credentials(a.WebAuthnCredentials()).CredentialDescriptors()
}

// NewPasskey is a passkey that is being made: for whom, and the challenge that
// its making answers.
type NewPasskey struct {
	Owner     Owner
	UserName  string
	Title     string // what people see as the user's name
	PoolTitle string // what people see as the pool's name
	Challenge []byte
}

// creation returns the options of the ceremony (WebAuthn Level 3, section 5.4)
// and the session that its end is held against. Both follow from n alone.
func (rp *RelyingParty) creation(n NewPasskey, present []Factor) (*protocol.CredentialCreation, *webauthn.SessionData, account, error) {
	a := account{n.Owner, n.UserName, n.Title, present}
	options, session, err := rp.lib.BeginRegistration(a, webauthn.WithRegistrationRelyingPartyName(n.PoolTitle),
		webauthn.WithExclusions(a.descriptors()), func(o *protocol.PublicKeyCredentialCreationOptions) error {
			o.Challenge = n.Challenge
			return nil
		})
	return options, session, a, err
}

// creationOptions returns what navigator.credentials.create is called with, as JSON.
func (rp *RelyingParty) creationOptions(n NewPasskey, present []Factor) ([]byte, error) {
	options, _, _, err := rp.creation(n, present)
	if err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

// created checks the answer of navigator.credentials.create.
func (rp *RelyingParty) created(n NewPasskey, present []Factor, response []byte) (Credential, int64, error) {
	_, session, a, err := rp.creation(n, present)
	if err != nil {
		return Credential{}, 0, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response[:min(len(response), maxResponse)])
	if err != nil {
		return Credential{}, 0, badPasskey(err)
	}
	made, err := rp.lib.CreateCredential(a, *session, parsed)
	if err != nil {
		return Credential{}, 0, badPasskey(err)
	}
	c := Credential{ID: made.ID, PublicKey: made.PublicKey, AAGUID: made.Authenticator.AAGUID, BackupEligible: made.Flags.BackupEligible}
	for _, t := range made.Transport {
		c.Transports = append(c.Transports, string(t))
	}
	return c, int64(made.Authenticator.SignCount), nil
}

// requestOptions returns what navigator.credentials.get is called with, as JSON.
// Without passkeys it asks for any that the browser has for this site.
func (rp *RelyingParty) requestOptions(o Owner, passkeys []Factor, challenge []byte) ([]byte, error) {
	options, _, err := rp.request(account{owner: o, passkeys: passkeys}, challenge)
	if err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

func (rp *RelyingParty) request(a account, challenge []byte) (*protocol.CredentialAssertion, *webauthn.SessionData, error) {
	if len(a.passkeys) == 0 {
		return rp.lib.BeginDiscoverableLogin(webauthn.WithChallenge(challenge))
	}
	return rp.lib.BeginLogin(a, webauthn.WithChallenge(challenge))
}

// asserted checks the answer of navigator.credentials.get by one of the
// passkeys, and returns which, with its counter moved on.
func (rp *RelyingParty) asserted(o Owner, passkeys []Factor, challenge []byte, parsed *protocol.ParsedCredentialAssertionData) (Factor, error) {
	a := account{owner: o, passkeys: passkeys}
	_, session, err := rp.request(a, challenge)
	if err != nil {
		return Factor{}, err
	}
	used, err := rp.lib.ValidateLogin(a, *session, parsed)
	if err != nil {
		return Factor{}, badPasskey(err)
	}
	if used.Authenticator.CloneWarning {
		return Factor{}, fault.New(fault.Unauthenticated, "passkey_copied", "the passkey's signature counter went back: there may be a copy of it").
			WithFix("use another way to log in, and remove this passkey")
	}
	for _, f := range passkeys {
		if bytes.Equal(f.Credential.ID, used.ID) {
			f.Counter = int64(used.Authenticator.SignCount)
			return f, nil
		}
	}
	return Factor{}, NotFound() // cannot be: the library chose among the same
}

func badPasskey(err error) error {
	return fault.Wrap(err, fault.Unauthenticated, "passkey_refused", "the passkey's answer is not valid here").WithFix("try again")
}

// parseAssertion reads the answer of navigator.credentials.get.
func parseAssertion(response []byte) (*protocol.ParsedCredentialAssertionData, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response[:min(len(response), maxResponse)])
	if err != nil {
		return nil, badPasskey(err)
	}
	return parsed, nil
}

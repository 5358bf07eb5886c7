package factor

import (
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/deputy-id/deputy/internal/fault"
)

// FuzzPasskey answers for an authenticator whatever one likes: what is accepted
// is the passkey that was asked for, and everything else is refused as such.
func FuzzPasskey(f *testing.F) {
	party, err := NewRelyingParty("https://id.example")
	if err != nil {
		f.Fatal(err)
	}
	o := Owner{Pool: "staff", UserID: "usr_1"}
	n := NewPasskey{Owner: o, UserName: "zhang", Title: "张三", PoolTitle: "Staff", Challenge: []byte("0123456789abcdef0123456789abcdef")}
	site := virtualwebauthn.RelyingParty{Name: "Deputy", ID: "id.example", Origin: "https://id.example"}
	holder := virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte(o.UserID)})
	key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA)
	options, err := party.creationOptions(n, nil)
	if err != nil {
		f.Fatal(err)
	}
	creation, err := virtualwebauthn.ParseAttestationOptions(string(options))
	if err != nil {
		f.Fatal(err)
	}
	registration := []byte(virtualwebauthn.CreateAttestationResponse(site, holder, key, *creation))
	made, counter, err := party.created(n, nil, registration)
	if err != nil {
		f.Fatal(err)
	}
	holder.AddCredential(key)
	passkeys := []Factor{{ID: "fac_1", Owner: o, Kind: Passkey, Counter: counter, Credential: made}}
	if options, err = party.requestOptions(o, passkeys, n.Challenge); err != nil {
		f.Fatal(err)
	}
	request, err := virtualwebauthn.ParseAssertionOptions(string(options))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(registration)
	f.Add([]byte(virtualwebauthn.CreateAssertionResponse(site, holder, key, *request)))
	f.Add([]byte(`{"id":"AQ","rawId":"AQ","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA"}}`))
	f.Add([]byte(`{"id":"AQ","rawId":"AQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AA","signature":"AA","userHandle":"AA"}}`))
	f.Fuzz(func(t *testing.T, response []byte) {
		c, _, err := party.created(n, nil, response)
		if err != nil && !fault.HasCode(err, "passkey_refused") || err == nil && (len(c.ID) == 0 || len(c.PublicKey) == 0) {
			t.Errorf("%q makes %+v, %v", response, c, err)
		}
		parsed, err := parseAssertion(response)
		if err == nil {
			var used Factor
			if used, err = party.asserted(o, passkeys, n.Challenge, parsed); err == nil && used.ID != "fac_1" {
				t.Errorf("%q is of %+v", response, used)
			}
		}
		if err != nil && !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%q: %v", response, err)
		}
	})
}

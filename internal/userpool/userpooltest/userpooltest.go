// Package userpooltest is the suite that holds every implementation of the user pools' stores to their contract.
//
// It asks three questions: does each method do what it says (plain), do a
// change and its audit entry stand or fall together (transactional), and does
// the contract hold when many callers come at once (concurrent).
package userpooltest

import (
	"context"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/google/go-cmp/cmp"
)

// Backend is an implementation under test, empty.
type Backend struct {
	Stores userpool.Stores
	// Entries returns the audit entries that the implementation has committed, in order.
	Entries func(ctx context.Context) ([]audit.Entry, error)
}

// Run runs the suite; open returns a fresh, empty backend for each test.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for name, test := range map[string]func(*testing.T, *suite){
		"plain/pools":                    testPools,
		"plain/users":                    testUsers,
		"plain/clients":                  testClients,
		"plain/sessions":                 testSessions,
		"plain/codes":                    testCodes,
		"plain/devices":                  testDevices,
		"transactional/devices":          testDevicePermits,
		"plain/consents":                 testConsents,
		"plain/groups":                   testGroups,
		"plain/lists of sessions":        testSessionLists,
		"plain/lists of consents":        testConsentLists,
		"plain/logout notices":           testLogoutNotices,
		"plain/proofs":                   testProofs,
		"plain/letters":                  testLetters,
		"plain/changed addresses":        testChangedAddress,
		"plain/sweep":                    testSweep,
		"plain/pools are apart":          testIsolation,
		"transactional/permits":          testPermits,
		"transactional/entries":          testEntries,
		"transactional/cascade":          testCascade,
		"concurrent/one redemption":      testOneRedemption,
		"concurrent/one taker":           testOneTaker,
		"concurrent/one device":          testOneDevice,
		"concurrent/one user name":       testOneUserName,
		"concurrent/one update":          testOneUpdate,
		"concurrent/one session":         testOneEnd,
		"concurrent/one proof":           testOneProof,
		"concurrent/one letter":          testOneLetter,
		"plain/families":                 testFamilies,
		"plain/families without refresh": testFamilyWithoutRefresh,
		"plain/old generations":          testOldGenerations,
		"plain/families end":             testFamiliesEnd,
		"plain/family sweep":             testFamilySweep,
		"concurrent/one beginning":       testOneBeginning,
		"concurrent/one advance":         testOneAdvance,
		"plain/pushed requests":          testPushed,
		"plain/initial tokens":           testInitialTokens,
		"concurrent/one assertion":       testOneAssertion,
		"concurrent/one use":             testOneUse,
		"concurrent/uses of tokens":      testSpending,
		"plain/finding users":            testFindUsers,
		"plain/finding groups":           testFindGroups,
		"plain/provisioning tokens":      testProvisioningTokens,
		"transactional/members":          testMembers,
		"concurrent/one token of a name": testOneProvisioningToken,
		"concurrent/members of a group":  testMembersTogether,
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			test(t, &suite{t: t, Stores: b.Stores, backend: b})
		})
	}
}

// suite is one test's backend with the helpers that every test needs.
type suite struct {
	userpool.Stores
	t       *testing.T
	backend Backend
}

// start is the time at which the suite's records begin: with more precision than stores keep, on purpose.
var start = time.Date(2026, 3, 4, 5, 6, 7, 891_234_567, time.UTC)

// kept returns t as a store returns it.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// nothing is a recorder for refusals, of which the suite makes none.
type nothing struct{}

func (nothing) Append(context.Context, audit.Entry) error { return nil }

// permit returns a permit of Deputy itself.
func (s *suite) permit(a guard.Action, r guard.Resource) guard.Permit {
	s.t.Helper()
	g := &guard.Guard{Log: nothing{}}
	p, err := g.Allow(s.t.Context(), name.Caller{Kind: name.System}, a, r)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *suite) ctx() context.Context { return s.t.Context() }

// must ends the test if err is not nil.
func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// code fails the test unless err is the fault with that code.
func (s *suite) code(err error, want string) {
	s.t.Helper()
	if !fault.HasCode(err, want) {
		s.t.Errorf("got error %v, want one with code %s", err, want)
	}
}

// same fails the test unless got is want. Secrets count by content.
func (s *suite) same(what string, got, want any) {
	s.t.Helper()
	opts := cmp.Options{
		cmp.Comparer(func(a, b secret.Text) bool { return a.RevealString() == b.RevealString() }),
		cmp.Comparer(func(a, b name.Scopes) bool { return a.String() == b.String() }),
	}
	if d := cmp.Diff(want, got, opts); d != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// entries returns the committed audit entries of an action.
func (s *suite) entries(a guard.Action) []audit.Entry {
	s.t.Helper()
	all, err := s.backend.Entries(context.WithoutCancel(s.ctx()))
	s.must(err)
	var of []audit.Entry
	for _, e := range all {
		if e.Action == string(a) {
			of = append(of, e)
		}
	}
	return of
}

func (s *suite) scopes(param string) name.Scopes {
	s.t.Helper()
	scopes, err := name.ParseScopes(param)
	s.must(err)
	return scopes
}

// addPool, addUser, addClient, addSession and addCode store a plain record and
// return it as the store must return it.

func (s *suite) addPool(poolName string) userpool.Pool {
	s.t.Helper()
	p := userpool.Pool{Name: poolName, DisplayName: "Pool " + poolName, Settings: userpool.DefaultSettings(), CreatedAt: start}
	s.must(s.CreatePool(s.ctx(), s.permit(userpool.ActionCreatePool, p.Resource()), p))
	p.Version, p.CreatedAt = 1, kept(start)
	return p
}

func newUser(pool, userName string) userpool.User {
	return userpool.User{
		ID: name.NewID("usr"), Pool: pool, UserName: userName, DisplayName: "张三", Email: userName + "@example.com", EmailVerified: true,
		Phone: "+86 10 1234 5678", PasswordHash: secret.FromString("$argon2id$hash of " + userName), PasswordChangedAt: start, CreatedAt: start,
		FormerPasswords: []secret.Text{secret.FromString("$argon2id$former")}, MustChangePassword: true, Attributes: map[string]string{"department": "研发"}, ExternalID: "x-" + userName,
	}
}

func (s *suite) addUser(pool, userName string) userpool.User {
	s.t.Helper()
	u := newUser(pool, userName)
	s.must(s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, u.Resource()), u))
	u.Version, u.CreatedAt, u.PasswordChangedAt = 1, kept(start), kept(start)
	return u
}

func (s *suite) newClient(pool, clientName string) userpool.Client {
	c := userpool.NewClient(pool, clientName, userpool.Web, start)
	c.SecretHash, c.Scopes = userpool.HashSecret(userpool.NewSecret()), s.scopes("openid profile")
	c.RedirectURIs = []string{"https://b.example/callback", "https://a.example/callback"}
	c.PostLogoutRedirectURIs = []string{"https://b.example/"}
	c.Audiences, c.BackchannelLogoutURI, c.RequirePushed = []string{"https://api.example/"}, "https://b.example/logout", true
	c.DisplayName, c.Keys, c.Algorithm, c.RegistrationHash = "聊天 "+clientName, `{"keys":[]}`, "EdDSA", "hash"
	return c
}

func (s *suite) addClient(pool, clientName string) userpool.Client {
	s.t.Helper()
	c := s.newClient(pool, clientName)
	s.must(s.CreateClient(s.ctx(), s.permit(userpool.ActionCreateClient, c.Resource()), c))
	c.Version, c.CreatedAt = 1, kept(start)
	return c
}

func (s *suite) addSession(u userpool.User) userpool.Session {
	s.t.Helper()
	n, _ := userpool.NewSession(u.Pool, u.ID, []string{"pwd", "otp"}, start)
	s.must(s.CreateSession(s.ctx(), s.permit(userpool.ActionCreateSession, n.Resource()), n))
	n.AuthTime, n.LastUsedAt, n.ExpiresAt = kept(n.AuthTime), kept(n.LastUsedAt), kept(n.ExpiresAt)
	return n
}

func (s *suite) addCode(u userpool.User, c userpool.Client) userpool.Code {
	s.t.Helper()
	n := userpool.Code{
		Hash: userpool.HashCode(userpool.NewCode()), ID: name.NewID("code"), Pool: u.Pool, ClientID: c.ID, RedirectURI: c.RedirectURIs[0],
		Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", Nonce: "n-0S6_WzA2Mj", Scopes: s.scopes("openid profile"),
		Resources: []string{"https://api.example/"}, SessionID: "ses_1", Methods: []string{"pwd"}, FamilyID: name.NewID("fam"),
		UserID: u.ID, AuthTime: start, ExpiresAt: start.Add(userpool.CodeLifetime),
	}
	s.must(s.CreateCode(s.ctx(), s.permit(userpool.ActionCreateCode, n.Resource()), n))
	n.AuthTime, n.ExpiresAt = kept(n.AuthTime), kept(n.ExpiresAt)
	return n
}

func (s *suite) redeem(c userpool.Code) error { return s.begin(c, s.beginning(c)) }

func (s *suite) consent(u userpool.User, c userpool.Client, scopes string) {
	s.t.Helper()
	n := userpool.Consent{Pool: u.Pool, UserID: u.ID, ClientID: c.ID, Scopes: s.scopes(scopes), GrantedAt: start}
	s.must(s.SetConsent(s.ctx(), s.permit(userpool.ActionSetConsent, n.Resource()), n))
}

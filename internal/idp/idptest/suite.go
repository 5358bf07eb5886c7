// Package idptest is the suite that holds every implementation of the identity providers' stores to their contract.
package idptest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/contract"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idp"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vendor"
)

// Backend is an implementation under test. It has the users of [Users], and
// nothing of theirs.
type Backend struct {
	Stores idp.Stores
	// Entries returns the audit entries that the implementation has committed, in order.
	Entries func(ctx context.Context) ([]audit.Entry, error)
	// DeleteUser and DeletePool do what the stores of user pools do.
	DeleteUser func(ctx context.Context, pool, id string) error
	DeletePool func(ctx context.Context, pool string) error
}

// User is one that a [Backend] has.
type User struct {
	Pool, ID, Email string
	Verified        bool
}

// Users are those that a [Backend] has.
func Users() []User {
	return []User{
		{"staff", "usr_kim", "Kim@Example.com", true},
		{"staff", "usr_zoe", "zoÉ@example.com", true},
		{"staff", "usr_new", "new@example.com", false},
		{"staff", "usr_one", "shared@example.com", true},
		{"staff", "usr_two", "SHARED@example.com", true},
		{"staff", "usr_six", "Shared@example.com", true},
		{"guests", "usr_kim", "kim@example.com", true},
	}
}

// Run runs the suite; open returns a fresh backend for each test.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for what, test := range map[string]func(*suite){
		"plain/providers":                      (*suite).providers,
		"plain/what was read may have changed": (*suite).versions,
		"plain/links":                          (*suite).links,
		"plain/links of a user":                (*suite).unlinks,
		"plain/verified addresses":             (*suite).addresses,
		"plain/logins":                         (*suite).logins,
		"plain/sweep":                          (*suite).sweep,
		"plain/pools are apart":                (*suite).apart,
		"plain/what goes with a provider":      (*suite).providerGoes,
		"plain/what goes with a user":          (*suite).userGoes,
		"plain/what goes with a pool":          (*suite).poolGoes,
		"transactional/permits and entries":    (*suite).permits,
		"concurrent/one name":                  (*suite).oneName,
		"concurrent/one change":                (*suite).oneChange,
		"concurrent/one link":                  (*suite).oneLink,
		"concurrent/one end of a login":        (*suite).oneFinish,
	} {
		t.Run(what, func(t *testing.T) {
			b := open(t)
			test(&suite{b.Stores, contract.Case{T: t, Entries: b.Entries}, b})
		})
	}
}

type suite struct {
	idp.Stores
	contract.Case
	backend Backend
}

// newProvider returns a provider that says something in every field.
func (s *suite) newProvider(pool, providerName string) idp.Provider {
	s.T.Helper()
	scopes, err := name.NewScopes("openid", "email")
	s.Must(err)
	return idp.Provider{
		ID: name.NewID("idp"), Pool: pool, Name: providerName, Title: "公司账号", Type: idp.OIDC, ClientID: "cli_a", SealedSecret: []byte("sealed"),
		Issuer: "https://login.example", Endpoints: vendor.Endpoints{Authorization: "https://login.example/a", UserInfo: "https://login.example/u"}, Scopes: scopes,
		Mapping:             idp.Mapping{Name: "data.name", Attributes: map[string]string{"open_id": "data.open_id"}},
		LinkByVerifiedEmail: true, CreateUsers: true, Enabled: true, CreatedAt: contract.Start, UpdatedAt: contract.Start.Add(time.Second), Version: 1,
	}
}

func (s *suite) create(v idp.Provider) error {
	return s.CreateProvider(s.Ctx(), s.Permit(idp.ActionCreate, v.Resource()), v)
}

// add stores a provider and returns it as the store must return it.
func (s *suite) add(pool, providerName string) idp.Provider {
	s.T.Helper()
	v := s.newProvider(pool, providerName)
	s.Must(s.create(v))
	v.CreatedAt, v.UpdatedAt = contract.Kept(v.CreatedAt), contract.Kept(v.UpdatedAt)
	return v
}

func (s *suite) update(v idp.Provider) error {
	return s.UpdateProvider(s.Ctx(), s.Permit(idp.ActionUpdate, v.Resource()), v)
}

func (s *suite) remove(v idp.Provider) error {
	return s.DeleteProvider(s.Ctx(), s.Permit(idp.ActionDelete, v.Resource()), v.Pool, v.Name)
}

// are fails the test unless the pool's providers are these.
func (s *suite) are(pool string, want ...idp.Provider) {
	s.T.Helper()
	list, err := s.Providers(s.Ctx(), pool)
	s.Must(err)
	s.Same("the providers of "+pool, list, want)
}

func (s *suite) providers() {
	github, feishu := s.add("staff", "github"), s.add("staff", "feishu")
	got, err := s.Provider(s.Ctx(), "staff", "feishu")
	s.Must(err)
	s.Same("the provider", got, feishu)
	s.are("staff", feishu, github)
	s.Code(s.create(s.newProvider("staff", "feishu")), "idp_exists")
	s.Code(s.create(s.newProvider("nowhere", "feishu")), "userpool_not_found")
	_, err = s.Provider(s.Ctx(), "staff", "feishu_")
	s.Code(err, "idp_not_found")
	if !strings.Contains(err.Error(), "did you mean feishu?") {
		s.T.Errorf("near matches are not listed: %v", err)
	}
	s.Must(s.remove(github))
	s.Code(s.remove(github), "idp_not_found")
	s.are("staff", feishu)
}

// changed returns v as an administrator changes it.
func changed(v idp.Provider) idp.Provider {
	v.Title, v.ClientID, v.SealedSecret, v.Issuer, v.Mapping = "", "cli_b", []byte("again"), "https://other.example", idp.Mapping{}
	v.Endpoints.Token, v.Endpoints.UserInfo = "https://other.example/t", ""
	v.LinkByVerifiedEmail, v.CreateUsers, v.Enabled, v.Scopes = false, false, false, name.Scopes{}
	v.UpdatedAt, v.Version = contract.Kept(contract.Start.Add(time.Hour)), v.Version+1
	return v
}

func (s *suite) versions() {
	v := s.add("staff", "feishu")
	second := changed(v)
	s.Must(s.update(second))
	s.are("staff", second)
	s.Code(s.update(second), "idp_changed") // whose version is no longer 1
	skipping := second
	skipping.Version = 4
	s.Code(s.update(skipping), "idp_changed")
	anew := changed(second)
	anew.ID = name.NewID("idp")
	s.Code(s.update(anew), "idp_changed") // deleted and made again in between
	s.are("staff", second)
	s.Must(s.remove(second))
	s.Code(s.update(changed(second)), "idp_changed")
}

func newLink(v idp.Provider, subject, userID string) idp.Link {
	return idp.Link{Pool: v.Pool, ProviderID: v.ID, Issuer: "https://login.example", Subject: subject, UserID: userID, CreatedAt: contract.Kept(contract.Start)}
}

func (s *suite) link(l idp.Link) error {
	return s.CreateLink(s.Ctx(), s.Permit(idp.ActionCreateLink, idp.UserResource(l.Pool, l.UserID)), l)
}

// linked fails the test unless the account of l is linked with its user, or,
// if there is none, with nobody.
func (s *suite) linked(l idp.Link) {
	s.T.Helper()
	got, err := s.Link(s.Ctx(), l.Pool, l.ProviderID, l.Issuer, l.Subject)
	if l.UserID == "" {
		s.Code(err, "idp_link_not_found")
		return
	}
	s.Must(err)
	s.Same("the link", got, l)
}

// unlinked returns l without its user.
func unlinked(l idp.Link) idp.Link {
	l.UserID = ""
	return l
}

func (s *suite) links() {
	feishu, github := s.add("staff", "feishu"), s.add("staff", "github")
	l := newLink(feishu, "ou_1", "usr_kim")
	s.linked(unlinked(l))
	s.Must(s.link(l))
	s.linked(l)
	for _, userID := range []string{"usr_kim", "usr_zoe"} {
		s.Code(s.link(newLink(feishu, "ou_1", userID)), "idp_link_exists")
	}
	s.Must(s.link(newLink(feishu, "OU_1", "usr_zoe"))) // subjects are compared as they are
	s.Must(s.link(newLink(github, "ou_1", "usr_zoe")))
	s.Must(s.link(newLink(feishu, "ou_2", "usr_kim"))) // one person may have many accounts
	elsewhere := newLink(feishu, "ou_1", "usr_zoe")
	elsewhere.Issuer = "https://other.example"
	s.Must(s.link(elsewhere))
	s.linked(l)
	s.linked(elsewhere)
	s.Code(s.link(newLink(feishu, "ou_3", "usr_nobody")), "user_not_found")
	stray := newLink(feishu, "ou_3", "usr_kim")
	stray.ProviderID = "idp_unknown"
	s.Code(s.link(stray), "idp_not_found")
}

// belong checks which links a user has.
func (s *suite) belong(userID string, want ...idp.Link) {
	s.T.Helper()
	got, err := s.LinksOf(s.Ctx(), "staff", userID)
	s.Must(err)
	s.Same("the links of "+userID, got, want)
}

func (s *suite) unlinks() {
	feishu, github := s.add("staff", "feishu"), s.add("staff", "github")
	mine, other, zoes := newLink(feishu, "ou_1", "usr_kim"), newLink(github, "7", "usr_kim"), newLink(feishu, "ou_2", "usr_zoe")
	mine.Name, other.CreatedAt = "Kim 金", other.CreatedAt.Add(time.Second)
	for _, l := range []idp.Link{mine, other, zoes} {
		s.Must(s.link(l))
	}
	remove := func(l idp.Link) error {
		return s.DeleteLink(s.Ctx(), s.Permit(idp.ActionDeleteLink, idp.UserResource(l.Pool, l.UserID)), l)
	}
	s.belong("usr_kim", mine, other)
	s.belong("usr_nobody")
	stolen := zoes
	stolen.UserID = "usr_kim"
	s.Code(remove(stolen), "idp_link_not_found") // it is another user's
	s.belong("usr_zoe", zoes)
	s.Must(remove(mine))
	s.Code(remove(mine), "idp_link_not_found")
	s.linked(unlinked(mine))
	s.belong("usr_kim", other)
	s.Code(s.DeleteLink(s.Ctx(), guard.Permit{}, other), "permit_missing")
}

// addresses holds that an address is nobody else's who has a similar one: who
// finds two alike gives one person's account to another.
func (s *suite) addresses() {
	for email, want := range map[string][]string{
		"kim@example.com": {"usr_kim"}, "KIM@EXAMPLE.COM": {"usr_kim"}, "zoÉ@example.com": {"usr_zoe"},
		"\u212aim@example.com": nil, "k\u0131m@example.com": nil, "K\u0130M@example.com": nil, // the Kelvin sign, and Turkish letters, are no k and i
		"new@example.com": nil, "kim@example.co": nil, "%@example.com": nil, "_im@example.com": nil, "": nil,
		"shared@example.com": {"usr_one", "usr_six"}, // and not all three
	} {
		ids, err := s.VerifiedUsers(s.Ctx(), "staff", email)
		s.Must(err)
		s.Same("who has verified "+email, ids, want)
	}
	ids, err := s.VerifiedUsers(s.Ctx(), "guests", "shared@example.com")
	s.Must(err)
	s.Same("who has verified it in the other pool", len(ids), 0)
}

func newLogin(v idp.Provider) idp.Login {
	return idp.Login{
		ID: name.NewID("fed"), Pool: v.Pool, ProviderID: v.ID, Hash: idp.HashState(secret.FromString(name.NewID("st"))), Browser: idp.HashBrowser(secret.FromString("b")),
		Nonce: "n-1", SealedVerifier: []byte("sealed"), ReturnTo: "/userpool/staff/me", ExpiresAt: contract.Kept(contract.Start.Add(idp.LoginLifetime)),
	}
}

func (s *suite) begin(l idp.Login) error {
	return s.BeginLogin(s.Ctx(), s.Permit(idp.ActionBegin, l.Resource()), l)
}

func (s *suite) addLogin(v idp.Provider) idp.Login {
	s.T.Helper()
	l := newLogin(v)
	s.Must(s.begin(l))
	return l
}

func (s *suite) finish(l idp.Login) error {
	return s.FinishLogin(s.Ctx(), s.Permit(idp.ActionFinish, l.Resource()), l)
}

// gone fails the test if a login is under way in the pool with the state of l.
func (s *suite) gone(pool string, l idp.Login) {
	s.T.Helper()
	_, err := s.Login(s.Ctx(), pool, l.Hash)
	s.Code(err, "idp_login_gone")
}

// stays fails the test unless l is under way.
func (s *suite) stays(l idp.Login) {
	s.T.Helper()
	got, err := s.Login(s.Ctx(), l.Pool, l.Hash)
	s.Must(err)
	s.Same("the login", got, l)
}

func (s *suite) logins() {
	v := s.add("staff", "feishu")
	l, other := s.addLogin(v), s.addLogin(v)
	s.stays(l)
	twin := newLogin(v)
	twin.Hash = l.Hash
	s.Code(s.begin(twin), "idp_login_gone")
	stray := newLogin(v)
	stray.ProviderID = "idp_unknown"
	s.Code(s.begin(stray), "idp_not_found")
	mixed := l
	mixed.Hash = other.Hash
	s.Code(s.finish(mixed), "idp_login_gone")
	s.stays(l)
	s.Must(s.finish(l))
	s.Code(s.finish(l), "idp_login_gone")
	s.gone("staff", l)
	s.stays(other)
}

func (s *suite) sweepAt(t time.Time) int {
	s.T.Helper()
	n, err := s.SweepLogins(s.Ctx(), s.Permit(idp.ActionSweep, idp.SweepResource()), t)
	s.Must(err)
	return n
}

func (s *suite) sweep() {
	staff, guests := s.add("staff", "feishu"), s.add("guests", "feishu")
	old, foreign, late := s.addLogin(staff), s.addLogin(guests), newLogin(staff)
	late.ExpiresAt = late.ExpiresAt.Add(time.Hour)
	s.Must(s.begin(late))
	s.Same("swept at the very end", s.sweepAt(old.ExpiresAt), 0)
	s.Same("entries of a sweep that found nothing", s.Count(idp.ActionSweep), 0)
	s.stays(old) // whether it has expired is for the caller
	s.Same("swept after it", s.sweepAt(old.ExpiresAt.Add(time.Millisecond)), 2)
	s.Same("entries of a sweep", s.Count(idp.ActionSweep), 1)
	s.gone("staff", old)
	s.gone("guests", foreign)
	s.stays(late)
}

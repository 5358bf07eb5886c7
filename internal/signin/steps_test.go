package signin_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/factor/factortest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/descope/virtualwebauthn"
)

const password = "correct horse battery"

// world is a SignIn with the pools staff and guests, which have a user zhang
// each, and a clock that stands.
type world struct {
	*signin.SignIn
	t      *testing.T
	stores storetest.Pools
	pools  map[string]userpool.Pool
	mu     sync.Mutex
	at     time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, stores: storetest.NewPools(t), at: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC), pools: map[string]userpool.Pool{}}
	g := &guard.Guard{Log: w.stores.Log, Now: w.now}
	w.SignIn = w.stores.SignIn(t, "https://id.example", g, w.now)
	hash, err := w.Passwords.Hasher.Hash(t.Context(), secret.FromString(password))
	w.must(err)
	for _, p := range []userpool.Pool{staff(), guests()} {
		w.must(w.stores.CreatePool(t.Context(), w.permit(userpool.ActionCreatePool, p.Resource()), p))
		u := userpool.User{ID: "usr_" + p.Name, Pool: p.Name, UserName: "zhang", PasswordHash: hash, CreatedAt: w.at}
		w.must(w.stores.CreateUser(t.Context(), w.permit(userpool.ActionCreateUser, u.Resource()), u))
		w.pools[p.Name] = p
	}
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// pass moves the clock: a step of an authenticator app is 30 s.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) code(err error, want string) {
	w.t.Helper()
	if !fault.HasCode(err, want) {
		w.t.Errorf("got error %v, want one with code %s", err, want)
	}
}

func (w *world) permit(a guard.Action, r guard.Resource) guard.Permit {
	w.t.Helper()
	p, err := (&guard.Guard{Log: w.stores.Log}).Allow(w.t.Context(), name.Caller{Kind: name.System}, a, r)
	w.must(err)
	return p
}

func (w *world) policy(pool string, p userpool.FactorPolicy) {
	changed := w.pools[pool]
	changed.Settings.SecondFactor = p
	w.pools[pool] = changed
}

func (w *world) user(pool string) userpool.User {
	w.t.Helper()
	u, err := w.stores.User(w.t.Context(), pool, "usr_"+pool)
	w.must(err)
	return u
}

func owner(pool string) factor.Owner { return factor.Owner{Pool: pool, UserID: "usr_" + pool} }

func caller(pool string) name.Caller {
	return name.Caller{Kind: name.Person, User: name.User{Issuer: "https://id.example/userpool/" + pool, Subject: "usr_" + pool}}
}

var home, elsewhere = from("192.0.2.1"), from("203.0.113.9")

func (w *world) login(pool string) (signin.Progress, error) {
	return w.Password(w.t.Context(), w.pools[pool], "zhang", secret.FromString(password), home)
}

// begin logs in with the password and wants a need.
func (w *world) begin(pool string, want signin.Need) signin.Progress {
	w.t.Helper()
	p, err := w.login(pool)
	w.must(err)
	if p.Need != want {
		w.t.Fatalf("after the password the login lacks %q, want %q", p.Need, want)
	}
	if _, err := w.stores.Session(w.t.Context(), pool, userpool.HashSession(p.Token)); want != signin.Nothing && err == nil {
		w.t.Fatal("there is a session before all is proven")
	}
	return p
}

// done wants a session with the methods.
func (w *world) done(p signin.Progress, err error, methods ...string) {
	w.t.Helper()
	w.must(err)
	if p.Need != signin.Nothing {
		w.t.Fatalf("the login still lacks %q", p.Need)
	}
	s, err := w.stores.Session(w.t.Context(), p.User.Pool, userpool.HashSession(p.Token))
	w.must(err)
	if !slices.Equal(s.Methods, methods) || s.UserID != p.User.ID || s.Address != home.Address.String() || s.Agent != "test" {
		w.t.Errorf("session %+v, want methods %q", s, methods)
	}
	if !s.Alive(w.user(p.User.Pool), w.now()) {
		w.t.Error("the new session is dead")
	}
}

// app enrols an authenticator app and returns its seed.
func (w *world) app(pool string) secret.Text {
	w.t.Helper()
	seed := factor.NewSeed()
	_, err := w.Factors.AddTOTP(w.t.Context(), caller(pool), owner(pool), "phone", seed, storetest.TOTP(seed, w.now()))
	w.must(err)
	w.pass(time.Minute)
	return seed
}

func (w *world) now6(seed secret.Text) secret.Text { return storetest.TOTP(seed, w.now()) }

func TestPasswordAndCode(t *testing.T) {
	w := newWorld(t)
	w.done(w.begin("staff", signin.Nothing), nil, "pwd")
	seed := w.app("staff")
	p := w.begin("staff", signin.Factor)
	before := p.Token
	p, err := w.Code(t.Context(), w.pools["staff"], p.Token, w.now6(seed), home)
	w.done(p, err, "pwd", "otp", "mfa")
	if _, err := w.State(t.Context(), w.pools["staff"], before); !fault.HasCode(err, "login_expired") {
		t.Errorf("the attempt outlives its login: %v", err)
	}
	w.policy("staff", userpool.FactorOff)
	w.done(w.begin("staff", signin.Nothing), nil, "pwd")
}

func TestACodeIsGoodOnce(t *testing.T) {
	w := newWorld(t)
	seed := w.app("staff")
	code := w.now6(seed)
	first, second := w.begin("staff", signin.Factor), w.begin("staff", signin.Factor)
	p, err := w.Code(t.Context(), w.pools["staff"], first.Token, code, home)
	w.done(p, err, "pwd", "otp", "mfa")
	_, err = w.Code(t.Context(), w.pools["staff"], second.Token, code, home)
	w.code(err, "factor_failed")
	_, err = w.Code(t.Context(), w.pools["staff"], first.Token, w.now6(seed), home)
	w.code(err, "login_expired")
	w.pass(30 * time.Second)
	p, err = w.Code(t.Context(), w.pools["staff"], second.Token, w.now6(seed), home)
	w.done(p, err, "pwd", "otp", "mfa")
}

func TestOneCodeSentManyTimesAtOnce(t *testing.T) {
	w := newWorld(t)
	seed := w.app("staff")
	var tokens []secret.Text
	for range 4 {
		tokens = append(tokens, w.begin("staff", signin.Factor).Token)
	}
	code := w.now6(seed)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			if _, err := w.Code(t.Context(), w.pools["staff"], tokens[i%4], code, home); err == nil {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d logins by one code", won.Load())
	}
}

func TestGuessesAreCountedPerAttempt(t *testing.T) {
	w := newWorld(t)
	seed := w.app("staff")
	p := w.begin("staff", signin.Factor)
	for i := range signin.MaxTries {
		_, err := w.Code(t.Context(), w.pools["staff"], p.Token, secret.FromString("00000"), home)
		w.code(err, map[bool]string{true: "login_expired", false: "factor_failed"}[i == signin.MaxTries-1])
	}
	_, err := w.Code(t.Context(), w.pools["staff"], p.Token, w.now6(seed), home)
	w.code(err, "login_expired")
}

// TestTheOwnerIsNotLockedOut: somebody who knows the password guesses codes from
// many addresses; he is slowed down, and the owner logs in from where he does.
func TestTheOwnerIsNotLockedOut(t *testing.T) {
	w := newWorld(t)
	seed := w.app("staff")
	p, err := w.Code(t.Context(), w.pools["staff"], w.begin("staff", signin.Factor).Token, w.now6(seed), home)
	w.done(p, err, "pwd", "otp", "mfa")
	slowed := 0
	for i := range 40 {
		attacker := from(fmt.Sprintf("198.51.100.%d", i))
		p, err := w.Password(t.Context(), w.pools["staff"], "zhang", secret.FromString(password), attacker)
		if err == nil {
			_, err = w.Code(t.Context(), w.pools["staff"], p.Token, secret.FromString("12345"), attacker)
		}
		if fault.HasCode(err, "login_throttled") {
			slowed++
		}
	}
	if slowed < 20 {
		t.Errorf("%d of 40 guesses were slowed down", slowed)
	}
	w.pass(30 * time.Second)
	p, err = w.Code(t.Context(), w.pools["staff"], w.begin("staff", signin.Factor).Token, w.now6(seed), home)
	w.done(p, err, "pwd", "otp", "mfa")
}

func TestAnAttemptIsOfOnePoolAndEnds(t *testing.T) {
	w := newWorld(t)
	seed := w.app("staff")
	w.app("guests")
	p := w.begin("staff", signin.Factor)
	_, err := w.Code(t.Context(), w.pools["guests"], p.Token, w.now6(seed), home)
	w.code(err, "login_expired")
	for what, token := range map[string]secret.Text{"none": {}, "invented": secret.FromString("la_x"), "a session's": w.user("staff").PasswordHash} {
		if _, err := w.State(t.Context(), w.pools["staff"], token); !fault.HasCode(err, "login_expired") {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.pass(signin.AttemptLifetime)
	_, err = w.Code(t.Context(), w.pools["staff"], p.Token, w.now6(seed), home)
	w.code(err, "login_expired")

	p = w.begin("staff", signin.Factor)
	u := w.user("staff")
	u.Disabled = true
	w.must(w.stores.UpdateUser(t.Context(), w.permit(userpool.ActionUpdateUser, u.Resource()), u))
	_, err = w.Code(t.Context(), w.pools["staff"], p.Token, w.now6(seed), home)
	w.code(err, "login_expired")
}

func TestStepsCannotBeSkipped(t *testing.T) {
	w := newWorld(t)
	w.app("staff")
	p := w.begin("staff", signin.Factor)
	_, err := w.NewPassword(t.Context(), w.pools["staff"], p.Token, secret.FromString("something else again"), home)
	w.code(err, "login_step")
	seed := factor.NewSeed()
	_, err = w.Enrol(t.Context(), w.pools["staff"], p.Token, "mine", seed, w.now6(seed), home)
	w.code(err, "login_step")
	if set, err := w.Factors.Set(t.Context(), owner("staff")); err != nil || len(set.Factors) != 1 {
		t.Errorf("factors %+v, %v", set, err)
	}
}

func TestTemporaryPassword(t *testing.T) {
	w := newWorld(t)
	u := w.user("staff")
	u.MustChangePassword = true
	w.must(w.stores.UpdateUser(t.Context(), w.permit(userpool.ActionUpdateUser, u.Resource()), u))
	seed := w.app("staff")

	// Who knows the temporary password alone does not set the next one.
	p := w.begin("staff", signin.Factor)
	p, err := w.Code(t.Context(), w.pools["staff"], p.Token, w.now6(seed), home)
	w.must(err)
	if p.Need != signin.NewPassword {
		t.Fatalf("the login lacks %q", p.Need)
	}
	other := w.begin("staff", signin.Factor)
	w.pass(time.Second)
	for chosen, want := range map[string]string{password: "password_used", "short": "password_length", "zhang": "password_length", "password123": "password_breached"} {
		_, err := w.NewPassword(t.Context(), w.pools["staff"], p.Token, secret.FromString(chosen), home)
		w.code(err, want)
	}
	p, err = w.NewPassword(t.Context(), w.pools["staff"], p.Token, secret.FromString("a password of mine"), home)
	w.done(p, err, "pwd", "otp", "mfa")
	if w.user("staff").MustChangePassword {
		t.Error("the password is still temporary")
	}
	w.pass(30 * time.Second)
	_, err = w.Code(t.Context(), w.pools["staff"], other.Token, w.now6(seed), home)
	w.code(err, "login_expired") // it began with a password that is no more
	_, err = w.login("staff")
	w.code(err, "login_failed")
}

func TestRequiredFactorIsEnrolledAtLogin(t *testing.T) {
	w := newWorld(t)
	w.policy("staff", userpool.FactorRequired)
	p := w.begin("staff", signin.Enrolment)
	seed := factor.NewSeed()
	_, err := w.Enrol(t.Context(), w.pools["staff"], p.Token, "phone", seed, secret.FromString("1"), home)
	w.code(err, "factor_failed")
	p, err = w.Enrol(t.Context(), w.pools["staff"], p.Token, "phone", seed, w.now6(seed), home)
	codes := p.Recovery
	w.done(p, err, "pwd", "otp", "mfa")
	if len(codes) != factor.RecoveryCodes {
		t.Fatalf("%d recovery codes", len(codes))
	}

	p = w.begin("staff", signin.Factor)
	_, err = w.Code(t.Context(), w.pools["staff"], p.Token, w.now6(seed), home)
	w.code(err, "factor_failed") // the code of the enrolment is used up
	p, err = w.RecoveryCode(t.Context(), w.pools["staff"], p.Token, secret.FromString(strings.ToUpper(codes[3].RevealString())), home)
	w.done(p, err, "pwd", "otp", "mfa")
	p = w.begin("staff", signin.Factor)
	_, err = w.RecoveryCode(t.Context(), w.pools["staff"], p.Token, codes[3], home)
	w.code(err, "factor_failed")
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t)
	p := w.begin("staff", signin.Nothing)
	w.pass(time.Minute)
	change := func(present, chosen string) (signin.Progress, error) {
		return w.ChangePassword(t.Context(), w.pools["staff"], p.Session, secret.FromString(present), secret.FromString(chosen), home)
	}
	_, err := change("wrong", "a password of mine")
	w.code(err, "login_failed")
	_, err = change(password, "iloveyou123")
	w.code(err, "password_breached")
	next, err := change(password, "a password of mine")
	w.done(next, err, "pwd")
	if p.Session.Alive(w.user("staff"), w.now()) {
		t.Error("a session outlives its password")
	}
}

// authenticator is a virtual one with one passkey.
type authenticator struct {
	t  *testing.T
	rp virtualwebauthn.RelyingParty
	virtualwebauthn.Authenticator
	key virtualwebauthn.Credential
}

// passkey enrols a passkey for the pool's zhang.
func (w *world) passkey(pool string) *authenticator {
	w.t.Helper()
	a := &authenticator{
		t: w.t, rp: virtualwebauthn.RelyingParty{Name: "Deputy", ID: "id.example", Origin: "https://id.example"},
		Authenticator: virtualwebauthn.NewAuthenticatorWithOptions(virtualwebauthn.AuthenticatorOptions{UserHandle: []byte("usr_" + pool)}),
		key:           factortest.NewPasskey(w.t),
	}
	n := factor.NewPasskey{Owner: owner(pool), UserName: "zhang", Title: "张三", PoolTitle: pool, Challenge: factor.NewChallenge()}
	options, err := w.Factors.PasskeyCreation(w.t.Context(), n)
	w.must(err)
	parsed, err := virtualwebauthn.ParseAttestationOptions(string(options))
	w.must(err)
	_, err = w.Factors.AddPasskey(w.t.Context(), caller(pool), n, "钥匙", []byte(virtualwebauthn.CreateAttestationResponse(a.rp, a.Authenticator, a.key, *parsed)))
	w.must(err)
	a.AddCredential(a.key)
	return a
}

// answer answers the options of a login.
func (a *authenticator) answer(w *world, p signin.Progress, pool string) []byte {
	a.t.Helper()
	options, err := w.Factors.PasskeyRequest(a.t.Context(), factor.Owner{Pool: pool, UserID: p.User.ID}, p.Attempt.Challenge)
	w.must(err)
	parsed, err := virtualwebauthn.ParseAssertionOptions(string(options))
	w.must(err)
	return []byte(virtualwebauthn.CreateAssertionResponse(a.rp, a.Authenticator, a.key, *parsed))
}

func (w *world) first(pool string) signin.Progress {
	w.t.Helper()
	p, err := w.BeginPasskey(w.t.Context(), w.pools[pool], home)
	w.must(err)
	return p
}

func TestPasskeys(t *testing.T) {
	w := newWorld(t)
	a := w.passkey("staff")
	p := w.begin("staff", signin.Factor)
	p, err := w.Passkey(t.Context(), w.pools["staff"], p.Token, a.answer(w, p, "staff"), home)
	w.done(p, err, "pwd", "hwk", "mfa")

	p = w.first("staff")
	p, err = w.Passkey(t.Context(), w.pools["staff"], p.Token, a.answer(w, p, "staff"), home)
	w.done(p, err, "hwk", "mfa")

	w.policy("staff", userpool.FactorRequired) // a passkey is two factors
	p = w.first("staff")
	p, err = w.Passkey(t.Context(), w.pools["staff"], p.Token, a.answer(w, p, "staff"), home)
	w.done(p, err, "hwk", "mfa")

	w.policy("staff", userpool.FactorOff)
	_, err = w.BeginPasskey(t.Context(), w.pools["staff"], home)
	w.code(err, "passkeys_off")
}

// TestPasskeysOfOthers: the pools share a host, and so a browser offers the
// passkeys of all of them.
func TestPasskeysOfOthers(t *testing.T) {
	w := newWorld(t)
	ours, theirs := w.passkey("staff"), w.passkey("guests")
	p := w.first("staff")
	_, err := w.Passkey(t.Context(), w.pools["staff"], p.Token, theirs.answer(w, p, "staff"), home)
	w.code(err, "factor_failed")

	for what, edit := range map[string]func(a *authenticator){
		"another origin":      func(a *authenticator) { a.rp.Origin = "https://id.example.evil" },
		"http":                func(a *authenticator) { a.rp.Origin = "http://id.example" },
		"another rp id":       func(a *authenticator) { a.rp.ID = "example" },
		"another user handle": func(a *authenticator) { a.Options.UserHandle = []byte("usr_guests") },
		"user not verified":   func(a *authenticator) { a.Options.UserNotVerified = true },
		"user not present":    func(a *authenticator) { a.Options.UserNotPresent = true },
		"another key":         func(a *authenticator) { a.key.Key = theirs.key.Key },
		"another credential":  func(a *authenticator) { a.key.ID = []byte("never seen") },
	} {
		bad := *ours
		edit(&bad)
		p := w.first("staff")
		if _, err := w.Passkey(t.Context(), w.pools["staff"], p.Token, bad.answer(w, p, "staff"), home); !fault.HasCode(err, "factor_failed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, response := range map[string]string{"nothing": "", "no JSON": "{", "large": strings.Repeat("[", 1<<20), "empty": "{}"} {
		p := w.first("staff")
		if _, err := w.Passkey(t.Context(), w.pools["staff"], p.Token, []byte(response), home); !fault.HasCode(err, "factor_failed") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAPasskeysAnswerIsGoodOnce(t *testing.T) {
	w := newWorld(t)
	a := w.passkey("staff")
	p := w.first("staff")
	answer := a.answer(w, p, "staff")
	done, err := w.Passkey(t.Context(), w.pools["staff"], p.Token, answer, home)
	w.done(done, err, "hwk", "mfa")
	_, err = w.Passkey(t.Context(), w.pools["staff"], p.Token, answer, home)
	w.code(err, "login_expired")
	_, err = w.Passkey(t.Context(), w.pools["staff"], w.first("staff").Token, answer, home)
	w.code(err, "factor_failed")

	// Nor is one good for the same attempt after a try that failed.
	p = w.first("staff")
	answer = a.answer(w, p, "staff")
	_, err = w.Passkey(t.Context(), w.pools["staff"], p.Token, []byte("{}"), home)
	w.code(err, "factor_failed")
	_, err = w.Passkey(t.Context(), w.pools["staff"], p.Token, answer, home)
	w.code(err, "factor_failed")
}

func TestACopiedPasskeyIsNoticed(t *testing.T) {
	w := newWorld(t)
	a := w.passkey("staff")
	for _, c := range []struct {
		counter uint32
		ok      bool
	}{{5, true}, {6, true}, {6, false}, {2, false}, {7, true}} {
		a.key.Counter = c.counter
		p := w.first("staff")
		_, err := w.Passkey(t.Context(), w.pools["staff"], p.Token, a.answer(w, p, "staff"), home)
		if (err == nil) != c.ok {
			t.Errorf("counter %d: %v", c.counter, err)
		}
		if e := w.last(audit.Refused); !c.ok && !strings.Contains(e.Reason, "counter went back") {
			t.Errorf("counter %d: the log says %q", c.counter, e.Reason)
		}
	}
}

// last returns the last entry with an outcome.
func (w *world) last(o audit.Outcome) audit.Entry {
	w.t.Helper()
	all, err := w.stores.Entries(w.t.Context())
	w.must(err)
	for _, e := range slices.Backward(all) {
		if e.Outcome == o {
			return e
		}
	}
	return audit.Entry{}
}

func TestEveryStepIsRecordedAndNothingThatWasTyped(t *testing.T) {
	w := newWorld(t)
	seed := w.app("staff")
	p := w.begin("staff", signin.Factor)
	wrong, right := secret.FromString("918273"), w.now6(seed)
	_, err := w.Code(t.Context(), w.pools["staff"], p.Token, wrong, elsewhere)
	w.code(err, "factor_failed")
	p, err = w.Code(t.Context(), w.pools["staff"], p.Token, right, home)
	w.done(p, err, "pwd", "otp", "mfa")
	all, err := w.stores.Entries(t.Context())
	w.must(err)
	var told []string
	for _, e := range all {
		b, err := e.Encode()
		w.must(err)
		for _, secret := range []secret.Text{wrong, right, seed, p.Token} {
			if strings.Contains(string(b), secret.RevealString()) {
				t.Errorf("the log has what was typed: %s", b)
			}
		}
		told = append(told, fmt.Sprintf("%s %s %s %s", e.Action, e.Outcome, e.Detail["method"], e.Detail["address"]))
	}
	want := []string{"login.begin allowed  192.0.2.1", "login.try allowed authenticator app 203.0.113.9", "factor.use refused authenticator app 203.0.113.9",
		"login.try allowed authenticator app 192.0.2.1", "factor.use allowed  ", "login.end allowed  ", "session.create allowed  192.0.2.1"}
	if got := told[len(told)-len(want):]; !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

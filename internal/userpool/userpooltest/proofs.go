package userpooltest

import (
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

func (s *suite) put(v userpool.Proof) userpool.Proof {
	s.t.Helper()
	s.must(s.PutProof(s.ctx(), s.permit(userpool.ActionPutProof, v.Resource()), v))
	v.CreatedAt, v.ExpiresAt = kept(v.CreatedAt), kept(v.ExpiresAt)
	return v
}

func (s *suite) addProof(u userpool.User, purpose userpool.Purpose) userpool.Proof {
	s.t.Helper()
	v, _ := userpool.NewProof(u.Pool, purpose, u.ID, u.Email, start)
	return s.put(v)
}

func (s *suite) use(v userpool.Proof, u userpool.User) error {
	return s.UseProof(s.ctx(), s.permit(v.Purpose.Action(), u.Resource()), v, u)
}

func testProofs(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addPool("guests")
	zhang, li := s.addUser("staff", "zhang"), s.addUser("staff", "li")
	first := s.addProof(zhang, userpool.ResetPassword)
	got, err := s.Proof(s.ctx(), "staff", first.Hash)
	s.must(err)
	s.same("the proof", got, first)
	_, err = s.Proof(s.ctx(), "guests", first.Hash)
	s.code(err, "proof_not_found")

	// A newer one of the same purpose and user replaces it; others stay.
	verify, other := s.addProof(zhang, userpool.VerifyEmail), s.addProof(li, userpool.ResetPassword)
	second := s.addProof(zhang, userpool.ResetPassword)
	_, err = s.Proof(s.ctx(), "staff", first.Hash)
	s.code(err, "proof_not_found")
	s.code(s.use(first, zhang), "proof_used")
	for _, v := range []userpool.Proof{verify, other, second} {
		_, err = s.Proof(s.ctx(), "staff", v.Hash)
		s.must(err)
	}

	// Used for another purpose, or in another pool, it is none.
	wrong := verify
	wrong.Purpose = userpool.ResetPassword
	s.code(s.use(wrong, zhang), "proof_used")
	wrong = verify
	wrong.Pool = "guests"
	s.code(s.use(wrong, zhang), "proof_used")

	// What cannot be stored leaves the proof as it is.
	stale := zhang
	stale.Version = 7
	s.code(s.use(second, stale), "user_changed")
	session, lis := s.addSession(zhang), s.addSession(li)
	zhang.PasswordHash, zhang.PasswordChangedAt, zhang.EmailVerified = secret.FromString("$argon2id$new"), kept(start.Add(time.Second)), true
	s.must(s.use(second, zhang))
	zhang.Version++
	changed, err := s.User(s.ctx(), "staff", zhang.ID)
	s.must(err)
	s.same("the user", changed, zhang)
	s.code(s.use(second, zhang), "proof_used")
	_, err = s.Session(s.ctx(), "staff", session.TokenHash)
	s.code(err, "session_not_found")
	_, err = s.Session(s.ctx(), "staff", lis.TokenHash)
	s.must(err)

	// With a user, his proofs go.
	s.must(s.DeleteUser(s.ctx(), s.permit(userpool.ActionDeleteUser, zhang.Resource()), "staff", zhang.ID))
	_, err = s.Proof(s.ctx(), "staff", verify.Hash)
	s.code(err, "proof_not_found")
	v, _ := userpool.NewProof("staff", userpool.VerifyEmail, zhang.ID, zhang.Email, start)
	s.code(s.PutProof(s.ctx(), s.permit(userpool.ActionPutProof, v.Resource()), v), "user_not_found")
	testSignUpProof(s)
}

func testSignUpProof(s *suite) {
	s.t.Helper()
	v, _ := userpool.NewProof("staff", userpool.SignUp, "", "Wang@Example.com", start)
	v = s.put(v)
	got, err := s.Proof(s.ctx(), "staff", v.Hash)
	s.must(err)
	s.same("the proof of a sign-up", got, v)
	newer, _ := userpool.NewProof("staff", userpool.SignUp, "", "wang@example.com", start)
	s.put(newer)
	_, err = s.Proof(s.ctx(), "staff", v.Hash)
	s.code(err, "proof_not_found")
	taken := newUser("staff", "LI")
	s.code(s.use(newer, taken), "user_exists")
	wang := newUser("staff", "wang")
	s.must(s.use(newer, wang))
	list, err := s.UsersByEmail(s.ctx(), "staff", "WANG@example.com", 10)
	s.must(err)
	if len(list) != 1 || list[0].ID != wang.ID {
		s.t.Errorf("users by address: %v", list)
	}
	twin := newUser("staff", "twin")
	twin.Email = "Wang@EXAMPLE.com"
	s.must(s.CreateUser(s.ctx(), s.permit(userpool.ActionCreateUser, twin.Resource()), twin))
	if list, err = s.UsersByEmail(s.ctx(), "staff", "wang@example.com", 10); err != nil || len(list) != 2 || list[0].ID != twin.ID {
		s.t.Errorf("two users share an address: %v, %v", list, err)
	}
	if list, err = s.UsersByEmail(s.ctx(), "staff", "wang@example.com", 1); err != nil || len(list) != 1 {
		s.t.Errorf("at most one: %v, %v", list, err)
	}
	for _, c := range [][2]string{{"guests", "wang@example.com"}, {"staff", "wang%"}, {"staff", ""}} {
		if list, err = s.UsersByEmail(s.ctx(), c[0], c[1], 10); err != nil || len(list) != 0 {
			s.t.Errorf("%q: %v, %v", c, list, err)
		}
	}
}

func aLetter(pool, email string) userpool.Letter {
	return userpool.Letter{ID: name.NewID("let"), Pool: pool, Kind: userpool.LetterReset, Email: email, Language: "zh", State: userpool.LetterWaiting, DueAt: start, CreatedAt: start}
}

func (s *suite) addLetter(pool, email string) userpool.Letter {
	s.t.Helper()
	l := aLetter(pool, email)
	s.must(s.PostLetter(s.ctx(), s.permit(userpool.ActionPostLetter, l.Resource()), l))
	return l
}

// takeLetter takes the only letter that is due, which must be want.
func (s *suite) takeLetter(want userpool.Letter) userpool.Letter {
	s.t.Helper()
	l, ok, err := s.TakeLetter(s.ctx(), "owner", start, start.Add(time.Minute))
	s.must(err)
	if !ok || l.ID != want.ID {
		s.t.Fatalf("took %+v, %v; want %s", l, ok, want.ID)
	}
	return l
}

func testLetters(_ *testing.T, s *suite) {
	s.addPool("staff")
	none := func(at time.Time) {
		s.t.Helper()
		if l, ok, err := s.TakeLetter(s.ctx(), "other", at, at.Add(time.Minute)); ok || err != nil {
			s.t.Errorf("took %+v, %v", l, err)
		}
	}
	none(start)
	stray := aLetter("nowhere", "a@example.com")
	s.code(s.PostLetter(s.ctx(), s.permit(userpool.ActionPostLetter, stray.Resource()), stray), "userpool_not_found")
	posted := s.addLetter("staff", "Zhang@example.com")
	none(start.Add(-time.Millisecond))
	l := s.takeLetter(posted)
	posted.Tries, posted.Owner, posted.DueAt, posted.CreatedAt = 1, "owner", kept(start.Add(time.Minute)), kept(start)
	s.same("the letter", l, posted)
	none(start.Add(59 * time.Second))

	// Its time over, another takes it over; then the first comes too late.
	over, ok, err := s.TakeLetter(s.ctx(), "other", start.Add(time.Minute), start.Add(2*time.Minute))
	s.must(err)
	if !ok || over.ID != l.ID || over.Tries != 2 {
		s.t.Fatalf("took over %+v, %v", over, ok)
	}
	l.State = userpool.LetterSent
	s.code(s.SettleLetter(s.ctx(), s.permit(userpool.ActionSettleLetter, l.Resource()), l), "letter_not_found")
	s.must(s.PostponeLetter(s.ctx(), l, start))
	none(start.Add(90 * time.Second))
	s.must(s.PostponeLetter(s.ctx(), over, start.Add(time.Hour)))
	none(start.Add(59 * time.Minute))
	last, ok, err := s.TakeLetter(s.ctx(), "owner", start.Add(time.Hour), start.Add(2*time.Hour))
	s.must(err)
	if !ok || last.Tries != 3 {
		s.t.Fatalf("took %+v, %v", last, ok)
	}
	sent := func(pool, email string, since time.Time, want int) {
		s.t.Helper()
		n, err := s.LettersSent(s.ctx(), pool, email, since)
		s.must(err)
		s.same("how many were sent", n, want)
	}
	sent("staff", "zhang@example.com", start.Add(-time.Hour), 0)
	last.State = userpool.LetterSent
	s.must(s.SettleLetter(s.ctx(), s.permit(userpool.ActionSettleLetter, last.Resource()), last))
	none(start.Add(100 * time.Hour))
	sent("staff", "zhang@example.com", start.Add(-time.Hour), 1)
	sent("staff", "zhang@example.com", start.Add(time.Hour), 0)
	sent("guests", "zhang@example.com", start.Add(-time.Hour), 0)
	sent("staff", "li@example.com", start.Add(-time.Hour), 0)
	s.testSweepLetters()
}

func (s *suite) testSweepLetters() {
	s.t.Helper()
	proof := s.addProof(s.addUser("staff", "wang"), userpool.VerifyEmail)
	for _, c := range []struct {
		at   time.Time
		want int
	}{{proof.ExpiresAt, 0}, {proof.ExpiresAt.Add(time.Millisecond), 1}, {start.Add(userpool.LetterLifetime), 0}, {start.Add(userpool.LetterLifetime + time.Second), 1}} {
		n, err := s.SweepLetters(s.ctx(), s.permit(userpool.ActionSweepLetters, userpool.LettersResource()), c.at)
		s.must(err)
		s.same("how many were swept", n, c.want)
	}
}

// Whoever has a user's former address hears that it is no longer that.
func testChangedAddress(_ *testing.T, s *suite) {
	s.addPool("staff")
	u := s.addUser("staff", "zhang")
	former := u.Email
	update := func(email string) {
		s.t.Helper()
		u.SetEmail(email)
		s.must(s.UpdateUser(s.ctx(), s.permit(userpool.ActionUpdateUser, u.Resource()), u))
		u.Version++
	}
	update(former)
	update("ZHANG@example.com")
	later := time.Now().Add(time.Hour) // after the permits, whose time the letters have
	if l, ok, err := s.TakeLetter(s.ctx(), "owner", later, later.Add(time.Hour)); ok || err != nil {
		s.t.Errorf("a letter about nothing: %+v, %v", l, err)
	}
	update("new@example.com")
	s.same("whether the new address is verified", u.EmailVerified, false)
	l, ok, err := s.TakeLetter(s.ctx(), "owner", later, later.Add(time.Hour))
	s.must(err)
	if !ok || l.Email != "ZHANG@example.com" || l.UserID != u.ID || l.Kind != userpool.LetterChanged {
		s.t.Errorf("the letter is %+v, %v", l, ok)
	}
	update("")
	update("third@example.com")
	if l, ok, err = s.TakeLetter(s.ctx(), "owner", later, later.Add(time.Hour)); err != nil || !ok || l.Email != "new@example.com" {
		s.t.Errorf("the letter about taking the address away is %+v, %v, %v", l, ok, err)
	}
	if l, ok, err = s.TakeLetter(s.ctx(), "owner", later, later.Add(time.Hour)); ok || err != nil {
		s.t.Errorf("a letter to no address: %+v, %v", l, err)
	}
}

func testOneProof(_ *testing.T, s *suite) {
	s.addPool("staff")
	u := s.addUser("staff", "zhang")
	proof := s.addProof(u, userpool.VerifyEmail)
	s.same("uses of one proof", s.race("proof_used", func(int) error { return s.use(proof, u) }), 1)
}

func testOneLetter(_ *testing.T, s *suite) {
	s.addPool("staff")
	s.addLetter("staff", "zhang@example.com")
	taken := s.race("letter_not_found", func(int) error {
		_, ok, err := s.TakeLetter(s.ctx(), "owner", start, start.Add(time.Minute))
		if err == nil && !ok {
			return userpool.NotFound("letter", "")
		}
		return err
	})
	s.same("owners of one letter", taken, 1)
}

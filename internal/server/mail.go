package server

import (
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/mail"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/userpool"
)

// newRecovery makes the way in by e-mail. Without an SMTP server it is off, and
// the log says so.
func newRecovery(c Config, pools store.UserPools, passwords *userpool.Passwords, g *guard.Guard) (*recovery.Recovery, error) {
	r := recovery.Config{
		PublicURL: c.PublicURL, Pools: pools, Users: pools, Proofs: pools, Letters: pools, Passwords: passwords, Guard: g, Log: c.Logger, Now: c.Now,
		Link: func(pool string, purpose userpool.Purpose, token secret.Text) string {
			return c.PublicURL + login.ProofPath(pool, purpose, token)
		},
		Start: func(pool string, kind userpool.LetterKind) string { return c.PublicURL + login.StartPath(pool, kind) },
	}
	if c.SMTPURL == "" {
		if c.MailFrom != "" || !c.SMTPPassword.Empty() {
			return nil, fault.New(fault.Invalid, "smtp_url_missing", "there is a sender or a password for mail, and no server").
				WithSource("--smtp-url").WithFix("give the server's address, such as smtp://user@mail.example.com:587")
		}
		c.Logger.Info("no SMTP server: sign-up and recovery by e-mail are off")
		return recovery.New(r), nil
	}
	sender, err := mail.New(mail.Config{URL: c.SMTPURL, Password: c.SMTPPassword, From: c.MailFrom, Roots: c.SMTPRoots})
	if err != nil {
		f := fault.As(err)
		if f.Source == "" {
			f = f.WithSource("--smtp-url")
		}
		return nil, f
	}
	r.Mail = sender
	return recovery.New(r), nil
}

package mail_test

import (
	"context"
	"crypto/x509"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/mail"
	"github.com/deputy-id/deputy/internal/mail/mailtest"
	"github.com/deputy-id/deputy/internal/secret"
)

// sender speaks to s as if it were example.com.
func sender(t *testing.T, s *mailtest.Server, change func(*mail.Config)) *mail.Sender {
	t.Helper()
	c := mail.Config{URL: "smtp://deputy@example.com", Password: secret.FromString(mailtest.Password), From: "id@example.com", Roots: s.Roots, Dial: s.Dial}
	if change != nil {
		change(&c)
	}
	m, err := mail.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func letter() mail.Message {
	return mail.Message{To: "zhang.san+x@example.cn", Subject: "重置密码 · Reset your password", Text: "你好，\n\nhttps://id.example/" + strings.Repeat("x", 120) + "\n.\n"}
}

func TestSend(t *testing.T) {
	for what, c := range map[string]struct {
		url      string
		implicit bool
	}{"STARTTLS": {"smtp://deputy@example.com", false}, "implicit TLS": {"smtps://deputy@example.com", true}} {
		t.Run(what, func(t *testing.T) {
			s := mailtest.New(t, c.implicit, nil)
			if err := sender(t, s, func(m *mail.Config) { m.URL = c.url }).Send(t.Context(), letter()); err != nil {
				t.Fatal(err)
			}
			got := s.Next(t)
			if s.Logins() != 1 || got.Text != letter().Text || got.Subject != letter().Subject || len(got.To) != 1 || got.To[0] != letter().To {
				t.Errorf("%d logins, %+v", s.Logins(), got)
			}
			for header, want := range map[string]string{"From": "<id@example.com>", "To": "<zhang.san+x@example.cn>", "Auto-Submitted": "auto-generated", "X-Mailer": ""} {
				if got.Header.Get(header) != want {
					t.Errorf("%s: %q, want %q", header, got.Header.Get(header), want)
				}
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for what, c := range map[string]struct {
		server func(*smtp.Server)
		sender func(*mail.Config)
		answer error
		code   string
		kind   fault.Kind
	}{
		"no STARTTLS":       {func(s *smtp.Server) { s.TLSConfig = nil }, nil, nil, "mail_insecure", fault.Upstream},
		"foreign authority": {nil, func(m *mail.Config) { m.Roots = x509.NewCertPool() }, nil, "mail_certificate", fault.Upstream},
		"other name":        {nil, func(m *mail.Config) { m.URL = "smtp://deputy@mail.test" }, nil, "mail_certificate", fault.Upstream},
		"wrong password":    {nil, func(m *mail.Config) { m.Password = secret.FromString("wrong") }, nil, "mail_login_refused", fault.Upstream},
		"no such mailbox":   {nil, nil, &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}, "mail_refused", fault.Upstream},
		"greylisted":        {nil, nil, &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "later"}, "mail_unavailable", fault.Unavailable},
		"nobody there": {nil, func(m *mail.Config) {
			m.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:1")
			}
		}, nil, "mail_unavailable", fault.Unavailable},
	} {
		t.Run(what, func(t *testing.T) {
			s := mailtest.New(t, false, c.server)
			s.Refuse(c.answer)
			err := sender(t, s, c.sender).Send(t.Context(), letter())
			if !fault.HasCode(err, c.code) || !fault.Is(err, c.kind) {
				t.Errorf("got %v (%v), want %s", err, fault.As(err).Unwrap(), c.code)
			}
			if s.Waiting() != 0 || strings.Contains(err.Error(), "s3cret") || fault.As(err).Fix == "" {
				t.Errorf("%d received; %v", s.Waiting(), err)
			}
		})
	}
}

// A server that accepts and then says nothing costs the timeout, and no more.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // there is nothing in it
	err = sender(t, &mailtest.Server{Address: l.Addr().String()}, func(m *mail.Config) { m.Timeout = 50 * time.Millisecond }).Send(t.Context(), letter())
	if !fault.HasCode(err, "mail_timeout") || !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}

func TestLoopbackNeedsNoTLS(t *testing.T) {
	s := mailtest.New(t, false, func(s *smtp.Server) { s.TLSConfig = nil })
	m, err := mail.New(mail.Config{URL: "smtp://" + s.Address, From: "id@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Send(t.Context(), letter()); err != nil || s.Waiting() != 1 {
		t.Errorf("%d received, %v", s.Waiting(), err)
	}
}

func TestNothingIsInjected(t *testing.T) {
	s := mailtest.New(t, false, nil)
	m := sender(t, s, nil)
	for what, change := range map[string]func(*mail.Message){
		"header in the address":  func(m *mail.Message) { m.To = "a@example.com\r\nBcc: b@example.com" },
		"second address":         func(m *mail.Message) { m.To = "a@example.com, b@example.com" },
		"name":                   func(m *mail.Message) { m.To = "A <a@example.com>" },
		"command in the address": func(m *mail.Message) { m.To = "a@example.com> SIZE=1" },
		"quoted":                 func(m *mail.Message) { m.To = `"a\r\nb"@example.com` },
		"header in the subject":  func(m *mail.Message) { m.Subject = "x\r\nBcc: b@example.com" },
		"line separator":         func(m *mail.Message) { m.Subject = "x\u2028y" },
		"no subject":             func(m *mail.Message) { m.Subject = "" },
		"NUL":                    func(m *mail.Message) { m.Text = "a\x00b" },
		"too long":               func(m *mail.Message) { m.Text = strings.Repeat("x", 1<<20) },
	} {
		bad := letter()
		change(&bad)
		if err := m.Send(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	dots := letter()
	dots.Text = "one\r\n.\r\nMAIL FROM:<x@example.com>\r\n"
	if err := m.Send(t.Context(), dots); err != nil || s.Waiting() != 1 || !strings.Contains(s.Next(t).Text, "one\n.\nMAIL FROM") {
		t.Errorf("%d more messages, %v", s.Waiting(), err)
	}
}

func TestConfigurations(t *testing.T) {
	for what, c := range map[string]struct {
		mail.Config
		code string
	}{
		"good":              {mail.Config{URL: "smtps://u@mail.example.com:465", Password: secret.FromString("x"), From: "id@example.com"}, ""},
		"no scheme":         {mail.Config{URL: "mail.example.com:25", From: "id@example.com"}, "smtp_url_invalid"},
		"web":               {mail.Config{URL: "https://mail.example.com", From: "id@example.com"}, "smtp_url_invalid"},
		"port":              {mail.Config{URL: "smtp://mail.example.com:0", From: "id@example.com"}, "smtp_url_invalid"},
		"password inside":   {mail.Config{URL: "smtp://u:p@mail.example.com", From: "id@example.com"}, "smtp_url_secret"},
		"user alone":        {mail.Config{URL: "smtp://u@mail.example.com", From: "id@example.com"}, "smtp_password_mismatch"},
		"password alone":    {mail.Config{URL: "smtp://mail.example.com", Password: secret.FromString("x"), From: "id@example.com"}, "smtp_password_mismatch"},
		"sender with name":  {mail.Config{URL: "smtp://mail.example.com", From: "Deputy <id@example.com>"}, "email_invalid"},
		"sender left out":   {mail.Config{URL: "smtp://mail.example.com"}, "email_invalid"},
		"query":             {mail.Config{URL: "smtp://mail.example.com?tls=no", From: "id@example.com"}, "smtp_url_invalid"},
		"nothing but a tld": {mail.Config{URL: "smtp://mail.example.com", From: "id@com"}, "email_invalid"},
	} {
		if _, err := mail.New(c.Config); (c.code == "") != (err == nil) || (err != nil && !fault.HasCode(err, c.code)) {
			t.Errorf("%s: %v, want %q", what, err, c.code)
		}
	}
}

func FuzzCheckAddress(f *testing.F) {
	for _, seed := range []string{"li.si@example.com", "a@b", "@", "a@b.c\r\nX: y", `"x y"@example.com`, "a@[127.0.0.1]", "é@example.com", "a@-b.com", "a..b@example.com"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if mail.CheckAddress(address) != nil {
			return
		}
		if parsed, err := netmail.ParseAddress(address); err != nil || parsed.Address != address || strings.ContainsAny(address, "\r\n<>, \"") {
			t.Errorf("%q is let through; net/mail reads %v, %v", address, parsed, err)
		}
	})
}

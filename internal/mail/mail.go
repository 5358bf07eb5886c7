// Package mail sends one message at a time through an SMTP server, over TLS, and says whether a failure may pass.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
	smtp "github.com/wneessen/go-mail"
)

// Config says through which server mail goes, and as whose.
type Config struct {
	URL      string      // smtp://user@host:587 (STARTTLS) or smtps://user@host:465 (TLS from the start)
	Password secret.Text // of the URL's user; empty if it has none
	From     string      // sender: a bare address
	Timeout  time.Duration
	Roots    *x509.CertPool // nil: the system's

	// Dial opens the connection; nil means [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// defaultTimeout bounds the sending of one message. Servers that look a sender
// up, or delay strangers, take their time.
const defaultTimeout = 30 * time.Second

// The bounds of a message, in bytes.
const (
	maxSubject = 200
	maxText    = 64 << 10
)

// Message is a message in plain text.
type Message struct {
	To      string // a bare address
	Subject string // one line
	Text    string
}

// Sender sends messages. It is safe for concurrent use: every message has a
// connection of its own, because they are few and servers drop idle ones.
type Sender struct {
	config   Config
	host     string
	port     int
	user     string
	implicit bool // TLS from the start
	clear    bool // no TLS: the server is on this machine
}

// New checks the configuration; it does not connect. A server on loopback is
// spoken to in clear: there is nobody in between, and the certificates of local
// mail servers are rarely signed by anybody.
func New(c Config) (*Sender, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "smtp" && u.Scheme != "smtps") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Invalid, "smtp_url_invalid", "the SMTP server's address is not valid").
			WithFix("write smtp://user@host:587, or smtps://user@host:465 for TLS from the start")
	}
	if _, inline := u.User.Password(); inline {
		return nil, fault.New(fault.Invalid, "smtp_url_secret", "the SMTP server's address has a password in it, where every process list shows it").
			WithFix("leave it out and give it in $DEPUTY_SMTP_PASSWORD or by --smtp-password-file")
	}
	if err := CheckAddress(c.From); err != nil {
		return nil, fault.As(err).WithSource("--mail-from")
	}
	s := &Sender{config: c, host: u.Hostname(), port: 587, user: u.User.Username(), implicit: u.Scheme == "smtps"}
	s.clear = oauth.Loopback(s.host) && !s.implicit
	if s.implicit {
		s.port = 465
	}
	if p := u.Port(); p != "" {
		if s.port, err = strconv.Atoi(p); err != nil || s.port < 1 || s.port > 65535 {
			return nil, fault.New(fault.Invalid, "smtp_url_invalid", "the SMTP server's port is not valid").WithFix("use 587, or 465 with smtps://")
		}
	}
	if (s.user == "") != c.Password.Empty() {
		return nil, fault.New(fault.Invalid, "smtp_password_mismatch", "the SMTP server's address and the password do not belong together").
			WithFix("give both a user in --smtp-url and a password, or neither")
	}
	if s.config.Timeout <= 0 {
		s.config.Timeout = defaultTimeout
	}
	if s.config.Dial == nil {
		s.config.Dial = (&net.Dialer{}).DialContext
	}
	return s, nil
}

// CheckAddress returns a fault of kind Invalid unless address is one that
// messages can be sent to: a bare ASCII address in the simple form
// (RFC 5321, section 4.1.2, without quoted strings and address literals). What it
// lets through cannot end a header or a command.
func CheckAddress(address string) error {
	local, domain, ok := strings.Cut(address, "@")
	ok = ok && len(local) > 0 && len(local) <= 64 && len(address) <= 254 && dotted(local, "!#$%&'*+-/=?^_`{|}~") && dotted(domain, "-") && strings.Contains(domain, ".")
	for label := range strings.SplitSeq(domain, ".") {
		ok = ok && len(label) <= 63 && !strings.HasPrefix(label, "-") && !strings.HasSuffix(label, "-")
	}
	if !ok {
		return fault.New(fault.Invalid, "email_invalid", "%q is not an e-mail address that mail can be sent to", name.Clip(address, 80)).
			WithFix("give the bare address, such as li.si@example.com")
	}
	return nil
}

// dotted reports whether s is atoms of ASCII letters, digits and others,
// separated by single dots.
func dotted(s, others string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			c := atom[i]
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune(others, rune(c)) {
				return false
			}
		}
	}
	return true
}

// check returns a fault of kind Invalid unless m may be sent.
func (m Message) check() error {
	if err := CheckAddress(m.To); err != nil {
		return err
	}
	bad := m.Subject == "" || len(m.Subject) > maxSubject || len(m.Text) > maxText || !utf8.ValidString(m.Subject) || !utf8.ValidString(m.Text) ||
		strings.ContainsFunc(m.Subject, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }) ||
		strings.ContainsRune(m.Text, 0)
	if bad {
		return fault.New(fault.Invalid, "mail_invalid", "the message cannot be sent").WithFix("use a subject of one line of at most %d bytes, and UTF-8", maxSubject)
	}
	return nil
}

// Send hands a message to the server. A fault of kind Unavailable may pass:
// try again later, and accept that the message may then come twice, because an
// answer that was lost may have been a yes. Any other will stay.
func (s *Sender) Send(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	msg := smtp.NewMsg(smtp.WithNoDefaultUserAgent())
	if err := msg.From(s.config.From); err != nil {
		return fault.Wrap(err, fault.Invalid, "email_invalid", "the sender's address is not valid").WithSource("--mail-from")
	}
	if err := msg.To(m.To); err != nil {
		return fault.Wrap(err, fault.Invalid, "email_invalid", "the address is not valid")
	}
	msg.Subject(m.Subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(strings.ToLower(name.NewID("msg")) + "@" + s.config.From[strings.LastIndexByte(s.config.From, '@')+1:])
	// Machines do not answer machines (RFC 3834, section 5).
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(smtp.TypeTextPlain, m.Text)

	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	conn := &connection{dial: s.config.Dial, tls: s.tls(), implicit: s.implicit}
	defer conn.close()
	client, err := s.client(conn)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "smtp_client", "the SMTP client was not made")
	}
	// The library minds ctx until it is connected, and from then on deadlines of its own.
	stop := context.AfterFunc(ctx, conn.close)
	defer stop()
	return s.classify(ctx, client.DialAndSendWithContext(ctx, msg), msg.IsDelivered())
}

func (s *Sender) client(conn *connection) (*smtp.Client, error) {
	options := []smtp.Option{
		smtp.WithPort(s.port), smtp.WithTimeout(s.config.Timeout), smtp.WithTLSConfig(s.tls()), smtp.WithDialContextFunc(conn.open),
		smtp.WithoutNoop(), smtp.WithTLSPolicy(smtp.TLSMandatory),
	}
	if s.implicit {
		options = append(options, smtp.WithSSL())
	}
	if s.clear {
		options = append(options, smtp.WithTLSPolicy(smtp.NoTLS))
	}
	if s.user != "" {
		// Over TLS, or to this machine: plain is what every server has.
		options = append(options, smtp.WithSMTPAuth(smtp.SMTPAuthPlainNoEnc), smtp.WithUsername(s.user), smtp.WithPassword(s.config.Password.RevealString()))
	}
	return smtp.NewClient(s.host, options...)
}

func (s *Sender) tls() *tls.Config {
	return &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12, RootCAs: s.config.Roots}
}

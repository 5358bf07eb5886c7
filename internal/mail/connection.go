package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"sync"

	"github.com/deputy-id/deputy/internal/fault"
	smtp "github.com/wneessen/go-mail"
)

// connection remembers the one connection that is opened for a message, so that
// it is closed whatever happens: the library leaves it open when the server and
// it do not agree.
type connection struct {
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	tls      *tls.Config
	implicit bool

	mu   sync.Mutex
	conn net.Conn
}

func (c *connection) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c.implicit {
		conn = tls.Client(conn, c.tls)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	return conn, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close() // what there was to say was said
	}
}

// classify turns the library's error into a fault. Once the server has taken
// the message, an error in saying goodbye is none.
func (s *Sender) classify(ctx context.Context, err error, delivered bool) error {
	var certificate *tls.CertificateVerificationError
	var refused *smtp.SendError
	var answer *textproto.Error
	switch {
	case err == nil || delivered:
		return nil
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(err, fault.Unavailable, "mail_timeout", "the SMTP server %s did not answer in time", s.host).WithFix("check --smtp-url, and that the server is up")
	case errors.As(err, &certificate):
		return fault.Wrap(err, fault.Upstream, "mail_certificate", "the certificate of the SMTP server %s is not trusted", s.host).
			WithFix("use the name that the certificate has, and a certificate that this machine trusts")
	case errors.As(err, &refused):
		return s.refused(refused, err)
	case errors.As(err, &answer) && answer.Code >= 500 && answer.Code < 600:
		return fault.Wrap(err, fault.Upstream, "mail_login_refused", "the SMTP server %s refused Deputy's login or greeting with %d", s.host, answer.Code).
			WithFix("check the user in --smtp-url and the password")
	case errors.As(err, &answer):
		return s.unavailable(err)
	case errors.Is(err, smtp.ErrPlainAuthNotSupported):
		return fault.Wrap(err, fault.Upstream, "mail_login_refused", "the SMTP server %s does not take a login by user and password", s.host).
			WithFix("use the port for submission, 587 or 465")
	case netError(err):
		return s.unavailable(err)
	default: // what is left is the library's: a server without STARTTLS, or one that does not speak SMTP
		return fault.Wrap(err, fault.Upstream, "mail_insecure", "the SMTP server %s offers no TLS, or does not speak SMTP", s.host).
			WithFix("use a server with STARTTLS, or smtps:// for one that begins with TLS")
	}
}

func (s *Sender) unavailable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "mail_unavailable", "the SMTP server %s cannot be reached, or is busy", s.host).
		WithFix("check --smtp-url, and that the server is up")
}

// refused is about this message: 4xx may pass, 5xx will not (RFC 5321, section
// 4.2.1). A connection that broke in the middle says neither.
func (s *Sender) refused(e *smtp.SendError, err error) error {
	if e.IsTemp() || e.ErrorCode() < 500 {
		return s.unavailable(err)
	}
	return fault.Wrap(err, fault.Upstream, "mail_refused", "the SMTP server %s refused the message with %d", s.host, e.ErrorCode()).
		WithFix("check the address, and that the server lets --mail-from send")
}

// netError reports whether the connection was not made, or broke.
func netError(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

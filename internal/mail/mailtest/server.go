// Package mailtest is a real SMTP server on loopback, with STARTTLS and logins, for tests.
package mailtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Host is the name that the server's certificate has, and User and Password are
// those that may log in, over TLS only.
const (
	Host     = "example.com"
	User     = "deputy"
	Password = "s3cret"
)

// patience bounds a wait for a letter.
const patience = 30 * time.Second

// Letter is a message as it arrived.
type Letter struct {
	Header  mail.Header
	To      []string // of the envelope
	Subject string   // decoded
	Text    string   // decoded, with line feeds
}

// Server receives letters.
type Server struct {
	Address string         // host:port
	Roots   *x509.CertPool // with its certificate

	letters chan Letter
	mu      sync.Mutex
	refusal error // of every recipient
	logins  int
}

// New starts a server that ends with the test. With implicit, TLS begins with the
// connection. change may be nil.
func New(t testing.TB, implicit bool, change func(*smtp.Server)) *Server {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	web.Close()
	s := &Server{Roots: x509.NewCertPool(), letters: make(chan Letter, 1000)}
	s.Roots.AddCert(web.Certificate())
	served := smtp.NewServer(s)
	served.Domain, served.TLSConfig = Host, &tls.Config{Certificates: web.TLS.Certificates}
	served.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are part of tests
	served.ReadTimeout, served.WriteTimeout = patience, patience
	if change != nil {
		change(served)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = l.Addr().String()
	if implicit {
		l = tls.NewListener(l, served.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = served.Serve(l) // ends when it is closed
	}()
	t.Cleanup(func() {
		_ = served.Close() // the test is over
		<-done
	})
	return s
}

// Dial connects to the server, whatever the address.
func (s *Server) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, s.Address)
}

// Refuse makes the server answer err to every recipient; nil: take them.
func (s *Server) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = err
}

// Logins returns how many sessions logged in.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// Next waits for the next letter.
func (s *Server) Next(t testing.TB) Letter {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case l := <-s.letters:
		return l
	case <-late.C:
		t.Fatal("no letter came")
		return Letter{}
	}
}

// Waiting returns how many letters came and were not asked for.
func (s *Server) Waiting() int { return len(s.letters) }

// NewSession implements [smtp.Backend].
func (s *Server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c}, nil
}

type session struct {
	server *Server
	conn   *smtp.Conn
	to     []string
}

// AuthMechanisms implements [smtp.AuthSession].
func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth implements [smtp.AuthSession].
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if _, encrypted := s.conn.TLSConnectionState(); user != User || password != Password || !encrypted {
			return smtp.ErrAuthFailed
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.logins++
		return nil
	}), nil
}

// Mail implements [smtp.Session].
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt implements [smtp.Session].
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.to = append(s.to, to)
	return s.server.refusal
}

// Data implements [smtp.Session].
func (s *session) Data(r io.Reader) error {
	raw, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(quotedprintable.NewReader(raw.Body))
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(raw.Header.Get("Subject"))
	if err != nil {
		return err
	}
	s.server.letters <- Letter{raw.Header, s.to, subject, string(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))}
	return nil
}

// Reset implements [smtp.Session].
func (s *session) Reset() { s.to = nil }

// Logout implements [smtp.Session].
func (*session) Logout() error { return nil }

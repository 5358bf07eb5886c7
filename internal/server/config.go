// Package server puts the parts together: strict configuration, Build from top to bottom, Mount as the one visible list of what is served where, and Run.
package server

import (
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/secret"
)

// Config is what an operator says.
type Config struct {
	Data        string      // directory for everything that is kept; made if it does not exist
	Listen      string      // address of the identity service
	PublicURL   string      // as browsers see the identity service; "" for http and Listen, if that is loopback
	Database    secret.Text // postgres://… URL; empty for SQLite in Data
	RootKey     secret.Text // base64 of 32 bytes; empty for RootKeyFile
	RootKeyFile string      // "" for root.key in Data
	RootKMS     string      // location of a root key that a service keeps, instead of the two above; see package kms
	VaultToken  secret.Text // for that service, if it is Vault and the location names no file with a token
	// FormerRootKeyFile, FormerRootKey and FormerRootKMS are as above, for the root key that is
	// being replaced: data keys that it wraps are opened, and no new ones are wrapped with it.
	FormerRootKeyFile string
	FormerRootKey     secret.Text
	FormerRootKMS     string
	TrustDomain       string // of the workloads' SPIFFE IDs; "" for deputy.local
	IngressListen     string // address of the runtime's ingress; "" turns the runtime off
	IngressURL        string // as callers see the ingress; "" for http and IngressListen
	IngressLimits     ingress.Limits
	Driver            string     // what agents run on: process or kubernetes; "" for process
	Kubernetes        Kubernetes // if it is kubernetes
	AgentDir          string     // of agents as processes: their files, and their launch files; "" for Data
	AgentUsers        process.Users
	AgentLimits       process.Limits
	AgentCgroup       string  // that agents' control groups are made in; "" if there are no limits
	Attach            *Attach // an agent that is started by its developer, with process; nil: none is
	// DrainTime is how long requests at the ingress may go on when Deputy is told to end; 0 for 8 s.
	DrainTime     time.Duration
	AllowOutbound []string // private addresses that may be reached; see package outbound
	// BreachedPasswords is a file of breached passwords' hashes; "" for the short built-in list alone. See [userpool.NewBreached].
	BreachedPasswords string
	Vendors           string // file of further vendors, by the schema of vendor/catalogue.yaml; "" for the built-in ones alone

	SMTPURL      string         // smtp://user@host:587 or smtps://…; "" turns sign-up and recovery by e-mail off; see package mail
	SMTPPassword secret.Text    // of the user in SMTPURL
	MailFrom     string         // sender of Deputy's letters
	SMTPRoots    *x509.CertPool // who may sign the server's certificate; nil: the system's

	Version string // of the program
	Logger  *slog.Logger
	Now     func() time.Time // nil means time.Now

	// Ready is called once with the bound addresses (ingress nil if the runtime is off), when requests are
	// answered. It may be nil.
	Ready func(identity, ingress net.Addr)
}

// defaultTrustDomain names the workloads of a Deputy whose operator chose no
// name. It does not follow the public URL, so that moving the service does not
// rename the agents.
const defaultTrustDomain = "deputy.local"

// complete checks c and fills in what follows from the rest.
func (c *Config) complete() error {
	if c.Data == "" {
		return fault.New(fault.Invalid, "data_missing", "there is no data directory").WithSource("--data")
	}
	if err := checkListen("--listen", c.Listen); err != nil {
		return err
	}
	var err error
	// Agents run in directories of their own, so that paths that they are told must be absolute.
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return fault.Wrap(err, fault.Invalid, "data_missing", "the data directory has no absolute path").WithSource("--data")
	}
	if c.PublicURL, err = publicURL("--public-url", c.PublicURL, c.Listen); err != nil {
		return err
	}
	if c.IngressListen != "" {
		if err := checkListen("--ingress-listen", c.IngressListen); err != nil {
			return err
		}
		if c.IngressURL, err = publicURL("--ingress-url", c.IngressURL, c.IngressListen); err != nil {
			return err
		}
		if c.IngressURL == c.PublicURL {
			return fault.New(fault.Invalid, "origins_shared", "the identity service and the ingress would share the origin %s", c.PublicURL).
				WithSource("--ingress-url").WithFix("what agents answer must not come from where people log in: give the ingress a host name or port of its own")
		}
	}
	if err := c.completeLimits(); err != nil {
		return err
	}
	if c.TrustDomain == "" {
		c.TrustDomain = defaultTrustDomain
	}
	if err := c.completeDriver(); err != nil {
		return err
	}
	if name.Check("trust domain", c.TrustDomain) != nil || strings.ToLower(c.TrustDomain) != c.TrustDomain {
		return fault.New(fault.Invalid, "trust_domain_invalid", "%q is not a trust domain", name.Clip(c.TrustDomain, 80)).
			WithSource("--trust-domain").WithFix("use lower-case letters, digits, '-', '_' and '.' (SPIFFE-ID, section 2.1)")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// defaultDrainTime leaves most of the 30 s after which Kubernetes kills.
const defaultDrainTime = 8 * time.Second

// maxIngressBody bounds what an operator may have the ingress take of one request
// into memory.
const maxIngressBody = 256 << 20

// completeLimits checks the bounds of the ingress. What is zero takes its
// default there.
func (c *Config) completeLimits() error {
	l := c.IngressLimits
	for _, n := range []struct {
		flag string
		set  int64
		most int64
	}{
		{"--ingress-max-body", l.MaxBody, maxIngressBody}, {"--ingress-max-concurrent", int64(l.MaxConcurrent), 1 << 20}, {"--ingress-max-per-caller", int64(l.MaxPerCaller), 1 << 20},
		{"--ingress-rate", int64(l.Rate), 1 << 30}, {"--ingress-burst", int64(l.Burst), 1 << 30},
		{"--ingress-body-timeout", int64(l.BodyTimeout), int64(time.Hour)}, {"--ingress-first-byte", int64(l.FirstByte), int64(24 * time.Hour)},
		{"--ingress-idle", int64(l.Idle), int64(24 * time.Hour)}, {"--ingress-timeout", int64(l.Timeout), int64(24 * time.Hour)},
		{"--drain-time", int64(c.DrainTime), int64(time.Hour)},
	} {
		if n.set < 0 || n.set > n.most {
			return fault.New(fault.Invalid, "limit_invalid", "a bound of the ingress is negative or larger than can be meant").
				WithSource(n.flag).WithFix("see docs/operating.md for what is usual")
		}
	}
	if c.DrainTime == 0 {
		c.DrainTime = defaultDrainTime
	}
	return nil
}

func checkListen(flag, address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fault.New(fault.Invalid, "listen_invalid", "%q is not an address to listen on", name.Clip(address, 80)).
			WithSource(flag).WithFix("write host:port, such as 127.0.0.1:8080")
	}
	return nil
}

// publicURL checks a given URL, or derives one from a loopback address to
// listen on.
func publicURL(flag, given, listen string) (string, error) {
	if given == "" {
		host, port, err := net.SplitHostPort(listen)
		if err != nil || !oauth.Loopback(host) || port == "0" {
			return "", fault.New(fault.Invalid, "public_url_missing", "people's browsers reach %s under a name that Deputy cannot guess", listen).
				WithSource(flag).WithFix("give the address as browsers see it, such as https://id.example.com")
		}
		return "http://" + net.JoinHostPort(host, port), nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" ||
		(u.Scheme != "https" && (u.Scheme != "http" || !oauth.Loopback(u.Hostname()))) {
		return "", fault.New(fault.Invalid, "public_url_invalid", "%q cannot be a public address", name.Clip(given, 200)).
			WithSource(flag).WithFix("give scheme and host only, https except on loopback, such as https://id.example.com")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// makeData makes the data directory, for its owner only.
func makeData(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Unavailable, "data_unwritable", "the data directory %s cannot be made", dir).
			WithSource("--data").WithFix("choose a directory that you may write to")
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "data_unwritable", "the data directory %s cannot be read", dir).WithSource("--data")
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Invalid, "data_exposed", "the data directory %s may be read by others (mode %04o)", dir, info.Mode().Perm()).
			WithSource("--data").WithFix("run: chmod 700 %s", dir)
	}
	return nil
}

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/server"
)

// serveSettings are the settings of deputy serve. Secrets have no flags, which
// every process list shows: they come from files and the environment.
type serveSettings struct {
	Data              string `help:"Directory for everything that is kept, ${default} by default." default:"deputy-data" env:"DEPUTY_DATA" placeholder:"DIR"`
	Listen            string `help:"Address of the identity service, ${default} by default." default:"127.0.0.1:8080" env:"DEPUTY_LISTEN" placeholder:"HOST:PORT"`
	PublicURL         string `name:"public-url" help:"The identity service as browsers see it; on loopback it follows from --listen." env:"DEPUTY_PUBLIC_URL" placeholder:"URL"`
	Database          string `help:"PostgreSQL database; without it SQLite in the data directory." env:"DEPUTY_DATABASE" placeholder:"URL"`
	RootKeyFile       string `help:"Root key file; without it root.key in the data directory, or the key itself in $DEPUTY_ROOT_KEY." env:"DEPUTY_ROOT_KEY_FILE" placeholder:"FILE"`
	FormerRootKeyFile string `help:"File of the root key that is being replaced, or the key itself in $DEPUTY_FORMER_ROOT_KEY; see deputy keys rotate --root." env:"DEPUTY_FORMER_ROOT_KEY_FILE" placeholder:"FILE"`
	RootKMS           string `name:"root-kms" help:"Root key that a service keeps, instead: vault://HOST:8200/transit/keys/NAME, awskms:///KEY-ARN or gcpkms://projects/…/cryptoKeys/NAME." env:"DEPUTY_ROOT_KMS" placeholder:"URL"`
	FormerRootKMS     string `name:"former-root-kms" help:"The same for the root key that is being replaced." env:"DEPUTY_FORMER_ROOT_KMS" placeholder:"URL"`
	TrustDomain       string `help:"Trust domain of the agents' SPIFFE IDs, ${default} by default." default:"deputy.local" env:"DEPUTY_TRUST_DOMAIN" placeholder:"DOMAIN"`
	IngressListen     string `help:"Address of the runtime's ingress; without it agents are not run here." env:"DEPUTY_INGRESS_LISTEN" placeholder:"HOST:PORT"`
	IngressURL        string `name:"ingress-url" help:"The ingress as callers see it; on loopback it follows from --ingress-listen." env:"DEPUTY_INGRESS_URL" placeholder:"URL"`
	ingressLimits
	runtimeSettings
	AllowOutbound     []string `help:"Private address that may be reached: host:port, IP or CIDR. May be repeated." env:"DEPUTY_ALLOW_OUTBOUND" placeholder:"ADDR"`
	BreachedPasswords string   `help:"File of breached passwords (Have I Been Pwned, SHA-1, ordered by hash) that nobody may use, besides a short built-in list." env:"DEPUTY_BREACHED_PASSWORDS" placeholder:"FILE"`
	Vendors           string   `help:"File of further third parties, or of changed ones; see docs/vendors.md." env:"DEPUTY_VENDORS" placeholder:"FILE"`
	SMTPURL           string   `name:"smtp-url" help:"SMTP server for sign-up and recovery by e-mail: smtp://user@host:587, or smtps://…; without it they are off." env:"DEPUTY_SMTP_URL" placeholder:"URL"`
	SMTPPasswordFile  string   `name:"smtp-password-file" help:"File with the SMTP user's password; or the password itself in $DEPUTY_SMTP_PASSWORD." env:"DEPUTY_SMTP_PASSWORD_FILE" placeholder:"FILE"`
	MailFrom          string   `help:"Sender's address of what Deputy writes to people." env:"DEPUTY_MAIL_FROM" placeholder:"ADDRESS"`
	LogFormat         string   `help:"Format of the log: ${enum}." enum:"json,text" default:"json" env:"DEPUTY_LOG_FORMAT"`
	LogLevel          string   `help:"Least level that is logged: ${enum}." enum:"debug,info,warn,error" default:"info" env:"DEPUTY_LOG_LEVEL"`
}

// ingressLimits are the settings of the ingress's bounds.
type ingressLimits struct {
	MaxBody       int64         `name:"ingress-max-body" help:"Bytes that a request to an agent may have, ${default} by default." default:"1048576" env:"DEPUTY_INGRESS_MAX_BODY" placeholder:"N"`
	MaxConcurrent int           `name:"ingress-max-concurrent" help:"Requests to one agent at once, ${default} by default." default:"256" env:"DEPUTY_INGRESS_MAX_CONCURRENT" placeholder:"N"`
	MaxPerCaller  int           `name:"ingress-max-per-caller" help:"Requests of one caller at once, ${default} by default." default:"32" env:"DEPUTY_INGRESS_MAX_PER_CALLER" placeholder:"N"`
	Rate          int           `name:"ingress-rate" help:"Requests of one caller in a minute, ${default} by default." default:"600" env:"DEPUTY_INGRESS_RATE" placeholder:"N"`
	Burst         int           `name:"ingress-burst" help:"Requests of one caller that may come at once after a pause, ${default} by default." default:"60" env:"DEPUTY_INGRESS_BURST" placeholder:"N"`
	BodyTimeout   time.Duration `name:"ingress-body-timeout" help:"How long a request may take to arrive, ${default} by default." default:"30s" env:"DEPUTY_INGRESS_BODY_TIMEOUT" placeholder:"TIME"`
	FirstByte     time.Duration `name:"ingress-first-byte" help:"How long an agent may take to begin its answer, ${default} by default." default:"5m" env:"DEPUTY_INGRESS_FIRST_BYTE" placeholder:"TIME"`
	Idle          time.Duration `name:"ingress-idle" help:"How long a stream may be silent, ${default} by default." default:"15m" env:"DEPUTY_INGRESS_IDLE" placeholder:"TIME"`
	Timeout       time.Duration `name:"ingress-timeout" help:"How long an answer may take, streams and WebSockets too, ${default} by default." default:"1h" env:"DEPUTY_INGRESS_TIMEOUT" placeholder:"TIME"`
	DrainTime     time.Duration `name:"drain-time" help:"How long requests to agents may go on when Deputy is told to end, ${default} by default." default:"8s" env:"DEPUTY_DRAIN_TIME" placeholder:"TIME"`
}

func (l ingressLimits) limits() ingress.Limits {
	return ingress.Limits{
		MaxBody: l.MaxBody, MaxConcurrent: l.MaxConcurrent, MaxPerCaller: l.MaxPerCaller, Rate: l.Rate, Burst: l.Burst,
		BodyTimeout: l.BodyTimeout, FirstByte: l.FirstByte, Idle: l.Idle, Timeout: l.Timeout,
	}
}

// serveCommand is deputy serve.
type serveCommand struct{ serveSettings }

// rootKeyVariable holds a root key for those who keep no file.
const rootKeyVariable = "DEPUTY_ROOT_KEY"

// formerRootKeyVariable is the same for the root key that is being replaced.
const formerRootKeyVariable = "DEPUTY_FORMER_ROOT_KEY"

// vaultTokenVariable holds a token for Vault for those who keep no file.
const vaultTokenVariable = "DEPUTY_VAULT_TOKEN"

// smtpPasswordVariable holds the SMTP password for those who keep no file.
const smtpPasswordVariable = "DEPUTY_SMTP_PASSWORD"

// Run implements kong's command.
func (s serveCommand) Run(ctx context.Context, o output) error {
	log, err := logger(o, s.LogFormat, s.LogLevel)
	if err != nil {
		return err
	}
	begin := time.Now()
	if os.Getenv("GOGC") == "" {
		// Little lives long here, and a login's hash takes 19 MiB: with Go's default a garbage collection runs for
		// every few requests. This costs some 30 MiB under load and saves a tenth of the processor time.
		debug.SetGCPercent(400)
	}
	c := server.Config{
		Data: s.Data, Listen: s.Listen, PublicURL: s.PublicURL, RootKeyFile: s.RootKeyFile, TrustDomain: s.TrustDomain,
		IngressListen: s.IngressListen, IngressURL: s.IngressURL, IngressLimits: s.limits(), Driver: s.Driver, Kubernetes: s.kubernetes(), DrainTime: s.DrainTime, AllowOutbound: s.AllowOutbound, BreachedPasswords: s.BreachedPasswords, Vendors: s.Vendors, Version: version(), Logger: log,
	}
	if s.Database != "" {
		c.Database = secret.FromString(s.Database)
	}
	if err := s.agents(&c); err != nil {
		return err
	}
	if err := s.root(&c); err != nil {
		return err
	}
	c.SMTPURL, c.MailFrom = s.SMTPURL, s.MailFrom
	if c.SMTPPassword, err = s.smtpPassword(); err != nil {
		return err
	}
	d, err := server.Build(ctx, c)
	if err != nil {
		return err
	}
	defer d.Close()
	log.Debug("built", "took", time.Since(begin))
	return d.Run(ctx)
}

// root fills in the settings of the root key, and of the one that it replaces.
func (s serveSettings) root(c *server.Config) (err error) {
	c.RootKMS, c.FormerRootKeyFile, c.FormerRootKMS = s.RootKMS, s.FormerRootKeyFile, s.FormerRootKMS
	for variable, into := range map[string]*secret.Text{rootKeyVariable: &c.RootKey, formerRootKeyVariable: &c.FormerRootKey, vaultTokenVariable: &c.VaultToken} {
		if *into, err = fromEnvironment(variable); err != nil {
			return err
		}
	}
	return nil
}

// fromEnvironment takes a secret out of the environment: agents and their builds
// are children of this process.
func fromEnvironment(variable string) (secret.Text, error) {
	value := os.Getenv(variable)
	if value == "" {
		return secret.Text{}, nil
	}
	return secret.FromString(value), os.Unsetenv(variable)
}

// smtpPassword returns the SMTP password from its file or the environment.
func (s serveCommand) smtpPassword() (secret.Text, error) {
	password, err := fromEnvironment(smtpPasswordVariable)
	if err != nil || s.SMTPPasswordFile == "" {
		return password, err
	}
	return readSecret(s.SMTPPasswordFile, "--smtp-password-file")
}

// logger writes to the error stream, which is where a service's log goes.
func logger(o output, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "text" {
		return slog.New(slog.NewTextHandler(o.err, options)), nil
	}
	return slog.New(slog.NewJSONHandler(o.err, options)), nil
}

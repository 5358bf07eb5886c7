package server

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/deputy-id/deputy/internal/account"
	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/api/rest"
	"github.com/deputy-id/deputy/internal/assertion"
	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/backchannel"
	"github.com/deputy-id/deputy/internal/broker"
	"github.com/deputy-id/deputy/internal/browser"
	"github.com/deputy-id/deputy/internal/callback"
	"github.com/deputy-id/deputy/internal/consent"
	"github.com/deputy-id/deputy/internal/discovery"
	"github.com/deputy-id/deputy/internal/exchange"
	"github.com/deputy-id/deputy/internal/factor"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/federation"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/kubernetes"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/idppage"
	"github.com/deputy-id/deputy/internal/ingress"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/login"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/notice"
	"github.com/deputy-id/deputy/internal/obtain"
	"github.com/deputy-id/deputy/internal/op"
	"github.com/deputy-id/deputy/internal/operator"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/outbox"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/recovery"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/scim"
	"github.com/deputy-id/deputy/internal/signin"
	"github.com/deputy-id/deputy/internal/spool"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/trial"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/usertoken"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
	"github.com/deputy-id/deputy/internal/workload"
)

// Server is a Deputy, built and not yet serving.
type Server struct {
	config   Config
	closers  []func() // run in reverse order
	identity http.Handler
	ingress  http.Handler       // nil if the runtime is off
	gate     *ingress.Handler   // within ingress
	fleet    *fleet.Fleet       // nil if the runtime is off
	cluster  *kubernetes.Driver // nil if agents are not on one
	agents   agent.Store
	guard    *guard.Guard
	keeper   keeper
	recovery *recovery.Recovery
	notifier *backchannel.Notifier
	teller   *notice.Teller
	revoking outbox.Worker[vault.Revocation]
	consents *consent.Flow
}

// Close gives back what Build took. It is called once, after Run.
func (s *Server) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

// Build checks the configuration and puts all parts together, from the store up
// to the handlers. Nothing is served before [Server.Run].
func Build(ctx context.Context, c Config) (*Server, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	s := &Server{config: c}
	if err := s.build(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) onClose(f func()) { s.closers = append(s.closers, f) }

func (s *Server) build(ctx context.Context) error {
	c := s.config
	log := c.Logger
	if err := makeData(c.Data); err != nil {
		return err
	}
	unlock, err := lockData(c.Data)
	if err != nil {
		return err
	}
	s.onClose(unlock)

	db, err := openStore(ctx, c)
	if err != nil {
		return err
	}
	s.onClose(func() {
		if err := db.Close(); err != nil {
			log.Error("database not closed cleanly", "err", err)
		}
	})
	auditLog := audit.NewLog(store.Audit{DB: db})
	s.onClose(auditLog.Close)
	s.guard = &guard.Guard{Log: auditLog, Now: c.Now}
	ring, err := openRing(ctx, c, store.Keys{DB: db}, s.guard)
	if err != nil {
		return err
	}
	workloads := &workload.Registry{Store: store.Workloads{DB: db}, Guard: s.guard, Now: c.Now}
	operators := &operator.Registry{Store: store.Operators{DB: db}, Guard: s.guard, Now: c.Now}
	if err := firstStart(ctx, c, workloads, operators); err != nil {
		return err
	}

	// Identity: who is asking.
	pools := store.UserPools{DB: db, PublicURL: c.PublicURL}
	site, err := browser.NewSite(c.PublicURL, "id")
	if err != nil {
		return err
	}
	pages, err := browser.NewPages(site, log)
	if err != nil {
		return err
	}
	breached, err := userpool.NewBreached(c.BreachedPasswords)
	if err != nil {
		return err
	}
	s.onClose(func() { _ = breached.Close() }) // only read
	passwords := &userpool.Passwords{Hasher: userpool.NewHasher(runtime.GOMAXPROCS(0)), Breached: breached}
	out, err := outbound.New(outbound.Config{Allow: c.AllowOutbound, UserAgent: "deputy/" + c.Version, Log: log})
	if err != nil {
		return err
	}
	s.onClose(out.Close)
	base := poolpage.Base{PublicURL: c.PublicURL, Site: site, Pages: pages, Pools: pools, Log: log, Now: c.Now, Address: poolpage.RemoteAddress}
	people := &roster.Roster{Store: pools, Passwords: passwords, Guard: s.guard, Now: c.Now}
	logins := &login.Logins{PublicURL: c.PublicURL, Site: site, Users: pools, Sessions: pools, Guard: s.guard, Log: log, Now: c.Now}
	party, err := factor.NewRelyingParty(c.PublicURL)
	if err != nil {
		return err
	}
	factors := &factor.Registry{Stores: store.Factors{DB: db}, Sealer: ring, Guard: s.guard, Party: party, Now: c.Now}
	attempts := store.Attempts{DB: db}
	signIn := &signin.SignIn{
		PublicURL: c.PublicURL, Users: pools, Sessions: pools, Attempts: attempts, Factors: factors, Passwords: passwords, Throttle: signin.NewThrottle(c.Now),
		Guard: s.guard, Log: log, Now: c.Now,
	}
	if s.recovery, err = newRecovery(c, pools, passwords, s.guard); err != nil {
		return err
	}
	loginPages := &login.Handler{Base: base, Logins: logins, SignIn: signIn, Recovery: s.recovery}
	accounts := account.Base{Base: base, Logins: logins}
	security := &account.Security{Base: accounts, SignIn: signIn}
	home := &account.Home{Base: accounts, Clients: pools, Sessions: pools, Consents: pools, Guard: s.guard, Factors: factors}
	openid := &op.Provider{Base: base, Users: pools, Clients: pools, Codes: pools, Devices: pools, Families: pools, Consents: pools, Logins: logins, Keys: ring,
		Pushed: pools, Assertions: pools, Registrations: pools, Outbound: out, Throttle: signIn.Throttle, ClientThrottle: signin.NewThrottle(c.Now), Guard: s.guard}
	watKeys, err := ring.Signing(ctx, keys.WorkloadTokens, jwt.ES256)
	if err != nil {
		return err
	}
	tokens := (&workload.Tokens{Issuer: c.PublicURL, TrustDomain: c.TrustDomain, Keys: watKeys, Standings: store.Standings{DB: db, PublicURL: c.PublicURL}, Now: c.Now}).Ready()

	// Credentials: what may be given to whom.
	catalogue, err := vendors(c.Vendors)
	if err != nil {
		return err
	}
	providers := &provider.Registry{
		Store: store.Providers{DB: db}, Guard: s.guard, Sealer: ring, Keys: ring, Catalogue: catalogue, Client: &vendor.Client{Outbound: out, Now: c.Now},
		PublicURL: c.PublicURL, CallbackURL: c.PublicURL + callback.Path, Metadata: &discovery.Client{Outbound: out}, Now: c.Now,
	}
	identities := store.Identities{DB: db}
	federated := &federation.Federation{
		PublicURL: c.PublicURL, Store: identities, Users: pools, Sealer: ring, Guard: s.guard, Catalogue: catalogue, Outbound: out, Now: c.Now,
	}
	home.Federation, openid.Upstream = federated, federated
	external := &idppage.Handler{Login: loginPages, Federation: federated}
	loginPages.Choices = external.Choices
	grants := store.Vault{DB: db}
	journal, err := spool.Open(filepath.Join(c.Data, "journal"))
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "data_unwritable", "the journal of refreshed tokens cannot be opened").WithSource("--data")
	}
	tokenVault := &vault.Vault{
		Store: grants, Held: grants, Revocations: grants, Sealer: ring, Guard: s.guard, Refresher: refresher{providers}, Revoker: revoker{providers}, Journal: journal, Owner: name.NewID("replica"), Logger: log, Now: c.Now,
	}
	s.onClose(func() { drain(tokenVault, log) })
	s.revoking = tokenVault.Revoking(store.Bell{DB: db})
	flow := &consent.Flow{
		Store: store.Authorizations{DB: db}, Devices: store.Authorizations{DB: db}, Grants: grants, Workloads: store.Workloads{DB: db}, Bell: store.Bell{DB: db}, Guard: s.guard, Providers: providers, Vault: tokenVault, Sealer: ring,
		PublicURL: c.PublicURL, Logger: log, Now: c.Now,
	}
	s.consents = flow
	asserter := &assertion.Asserter{PublicURL: c.PublicURL, TrustDomain: c.TrustDomain, Pools: pools, Users: pools, Keys: ring, Now: c.Now}
	trials := &trial.Trials{Store: store.Trials{DB: db}, Bell: store.Bell{DB: db}, Guard: s.guard, Sealer: ring, Providers: providers, PublicURL: c.PublicURL, Logger: log, Now: c.Now}
	credentials := &broker.Broker{
		Store: grants, Guard: s.guard, Vault: tokenVault, Flow: flow, Other: &obtain.Kinds{Providers: providers, Outbound: out, Asserter: asserter, Now: c.Now},
	}

	// The runtime: agents and the way in to them.
	s.agents = store.Agents{DB: db}
	agents := &agent.Registry{Store: s.agents, Guard: s.guard, Now: c.Now}
	agentKeys := &agent.Keys{Store: store.Agents{DB: db}, Guard: s.guard, Barred: barred(c.PublicURL, pools), Now: c.Now}
	launchKeys, err := ring.Signing(ctx, keys.LaunchTokens, jwt.ES256)
	if err != nil {
		return err
	}
	replica, err := replicaID(c.Data)
	if err != nil {
		return err
	}
	running := &workload.Launches{Store: store.Launches{DB: db}, Guard: s.guard, Owner: replica, Now: c.Now}
	launches, err := attest.NewLaunches(attest.LaunchesConfig{
		Issuer: c.PublicURL, TrustDomain: c.TrustDomain, Keys: launchKeys, Now: c.Now,
		Live: func(ctx context.Context, id string) (bool, error) {
			if s.fleet != nil && s.fleet.Live(id) {
				return true, nil
			}
			return running.Elsewhere(ctx, id)
		},
	})
	if err != nil {
		return err
	}
	in, err := s.reach()
	if err != nil {
		return err
	}
	exchanger := &exchange.Exchange{
		Workloads: workloads.Store, Agents: agents.Store, Tokens: tokens, Verifier: &usertoken.Issuers{Fetch: in.Fetch, Now: c.Now}, Binder: running, IngressURL: c.IngressURL, Guard: s.guard,
	}
	proofs, err := newProofs(c, db, ring, s.guard, out)
	if err != nil {
		return err
	}
	if c.IngressListen != "" {
		if err := s.buildRuntime(launches, running, agents, agentKeys, in, exchanger, catalogue); err != nil {
			return err
		}
	}

	s.notifier = &backchannel.Notifier{
		PublicURL: c.PublicURL, Notices: pools, Pools: pools, Clients: pools, Keys: ring, Sender: out, Bell: store.Bell{DB: db}, Guard: s.guard, Log: log, Now: c.Now,
	}
	webhooks := &notice.Registry{Store: store.Webhooks{DB: db}, Sealer: ring, Sender: out, Guard: s.guard, Now: c.Now}
	s.teller = &notice.Teller{
		Webhooks: store.Webhooks{DB: db}, Outbox: store.Webhooks{DB: db}, Audit: store.Audit{DB: db}, Sealer: ring, Sender: out, Bell: store.Bell{DB: db}, Guard: s.guard, Logger: log, Now: c.Now,
	}
	s.keeper = keeper{
		pools: pools, sessions: pools, attempts: attempts, identities: identities, letters: s.recovery.Sweep, trials: trials.Sweep, clients: providers.Sweep, deliveries: s.teller.Sweep, ring: ring, vault: tokenVault, guard: s.guard, log: log, now: c.Now,
		followers: map[string]func([]jwt.Key){keys.WorkloadTokens: tokens.Use, keys.LaunchTokens: launches.Use},
	}

	mux := http.NewServeMux()
	pages.Mount(mux)
	mux.HandleFunc("GET /{$}", frontDoor(pages))
	loginPages.Mount(mux)
	home.Mount(mux)
	(&account.Agents{Base: accounts, Vault: tokenVault, Words: scopesInWords(providers)}).Mount(mux)
	external.Mount(mux)
	security.Mount(mux)
	openid.Mount(mux)
	(&scim.Handler{PublicURL: c.PublicURL, Pools: pools, Tokens: pools, Roster: people, Log: log}).Mount(mux)
	(&callback.Handler{Flow: flow, Keys: providers, Trials: trials, Login: logins, Site: site, Pages: pages, Scopes: scopesInWords(providers), Codes: catalogue.CodeParams(), Logger: log}).Mount(mux)
	(&rest.API{
		PublicURL: c.PublicURL, IngressURL: c.IngressURL, Version: c.Version, TrustDomain: c.TrustDomain,
		Operators: operators, Tokens: tokens, Attestors: proofs.attestors(s, launches), Trusted: proofs.trusted, AccessKeys: proofs.keys, Exchange: exchanger,
		Pools: pools, Users: pools, Groups: pools, Sessions: pools, Consents: pools, Passwords: passwords, Factors: factors,
		Roster: people, Provisioning: pools, Mail: c.SMTPURL != "",
		Clients: pools, Registrations: pools,
		Federation: federated, Identities: identities,
		Keys:      ring,
		Workloads: workloads, Providers: providers, Trials: trials, Webhooks: webhooks,
		Vault: tokenVault, Broker: credentials, Flow: flow,
		Agents: agents, AgentKeys: agentKeys, Fleet: s.fleet, Objects: s.objects(),
		Audit: store.Audit{DB: db}, Guard: s.guard, Ready: db.Ping, Logger: log, Now: c.Now,
	}).Mount(mux)
	s.identity = access(log, boundBody(bodyTimeout, mux))
	return nil
}

func openStore(ctx context.Context, c Config) (*store.DB, error) {
	if c.Database.Empty() {
		return store.OpenSQLite(ctx, c.Data)
	}
	return store.OpenPostgres(ctx, c.Database.RevealString())
}

// firstStart makes what every Deputy has: the default workload pool, and the
// first operator's token in a file for its owner only.
func firstStart(ctx context.Context, c Config, workloads *workload.Registry, operators *operator.Registry) error {
	_, err := workloads.CreatePool(ctx, name.Caller{Kind: name.System}, name.DefaultPool, "made by Deputy")
	if err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	token, made, err := operators.First(ctx)
	if err != nil || !made {
		return err
	}
	defer token.Clear()
	path := filepath.Join(c.Data, "operator.token")
	if err := os.WriteFile(path, append(token.Reveal(), '\n'), 0o600); err != nil {
		return fault.Wrap(err, fault.Unavailable, "data_unwritable", "the operator's token cannot be written to %s", path).WithSource("--data")
	}
	c.Logger.Info("first operator token written", "file", path)
	return nil
}

// reach makes the way to users' issuers: to our own pools where they are, to those
// of others like to any third party.
func (s *Server) reach() (*outbound.Client, error) {
	c := s.config
	own, err := hostPort(c.PublicURL)
	if err != nil {
		return nil, err
	}
	in, err := outbound.New(outbound.Config{Allow: append([]string{own}, c.AllowOutbound...), UserAgent: "deputy/" + c.Version, Log: c.Logger})
	if err != nil {
		return nil, err
	}
	s.onClose(in.Close)
	return in, nil
}

// buildRuntime makes the fleet and the ingress.
func (s *Server) buildRuntime(launches *attest.Launches, running *workload.Launches, agents *agent.Registry, agentKeys *agent.Keys, in *outbound.Client, exchanger *exchange.Exchange, catalogue vendor.Catalogue) error {
	c := s.config
	config := fleet.Config{
		Store: agents.Store, Launches: launches, Register: running,
		URL: c.PublicURL, TrustDomain: c.TrustDomain, Dir: filepath.Join(c.Data, "launch"), Log: c.Logger, Now: c.Now,
	}
	if err := s.chooseDriver(&config); err != nil {
		return err
	}
	s.fleet = fleet.New(config)
	desk, assets, err := newDesk(c, catalogue, in)
	if err != nil {
		return err
	}
	s.gate = ingress.New(ingress.Config{
		Talk: desk, Fleet: s.fleet, Verifier: &usertoken.Issuers{Fetch: in.Fetch, Now: c.Now}, Keys: agentKeys, Calls: exchanger, Minter: minter{exchanger.Tokens},
		Recorder: recorder{s.guard}, Log: c.Logger, URL: c.IngressURL, Now: c.Now, Limits: c.IngressLimits,
	})
	s.ingress = access(c.Logger, withAssets(assets, s.gate))
	return nil
}

func hostPort(publicURL string) (string, error) {
	u, err := url.Parse(publicURL)
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/wire"
)

// Service looks at a running Deputy.
type Service struct {
	URL         string
	API         *apiclient.Client
	RedirectURI string // if not empty: whether a client has it
	Now         func() time.Time
}

// requestTime bounds one request that is not the API's.
const requestTime = 10 * time.Second

// maxSkew is how far clocks may differ before tokens look expired, or not yet
// valid.
const maxSkew = 30 * time.Second

// Examine reports on the service and what it is set up to use. When it does
// not answer, that is all that is told.
func (s Service) Examine(ctx context.Context, tell Report) error {
	e := examination{ctx, "service", tell}
	answers, err := s.answers(e)
	if err != nil || !answers {
		return err
	}
	for _, look := range []func(context.Context, Report) error{s.keys, s.pools, s.providers, s.grants, s.agents, s.failures} {
		if err := look(ctx, tell); err != nil {
			return err
		}
	}
	return nil
}

// answers reports whether the service is there, and how far its clock is off.
func (s Service) answers(e examination) (bool, error) {
	said, err := s.get(e.ctx, strings.TrimSuffix(s.URL, "/")+"/readyz")
	if err != nil {
		return false, e.tell(Finding{Area: e.area, State: Problem, Text: "nobody answers at " + s.URL, Fix: "start deputy serve, or name its address with --url or DEPUTY_URL", Source: "--url"})
	}
	if said.status != http.StatusOK {
		return false, e.tell(Finding{Area: e.area, State: Problem, Text: fmt.Sprintf("the service at %s is not ready: %s", s.URL, strings.TrimSpace(string(said.body))), Fix: "see its log: most often it is the database"})
	}
	if err := e.fine("the service at " + s.URL + " is ready"); err != nil {
		return false, err
	}
	if there, err := http.ParseTime(said.date); err == nil {
		if off := s.Now().Sub(there); off.Abs() > maxSkew {
			return true, e.warn(fmt.Sprintf("this machine's clock differs from the service's by %s", off.Round(time.Second).Abs()),
				"set both by NTP: tokens look expired, or not yet valid, to whoever is off", "")
		}
	}
	return true, nil
}

// maxBody bounds what is read of an answer.
const maxBody = 1 << 20

// said is an answer.
type said struct {
	status int
	date   string // the header
	body   []byte
}

func (s Service) get(ctx context.Context, address string) (said, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return said{}, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return said{}, err
	}
	defer resp.Body.Close() // only read
	body, err := wire.ReadAll(resp.Body, maxBody)
	return said{resp.StatusCode, resp.Header.Get("Date"), body}, err
}

// pools looks at each user pool: whether its discovery document is where its
// tokens say, its identity providers, and who has the redirect URI.
func (s Service) pools(ctx context.Context, tell Report) error {
	e := examination{ctx, "user pools", tell}
	pools, err := s.API.UserPools(ctx)
	if err != nil {
		return e.problem("the user pools cannot be read", err)
	}
	var registered []string
	for _, p := range pools {
		if err := s.discovery(e, p); err != nil {
			return err
		}
		if err := s.identityProviders(e, p.Name); err != nil {
			return err
		}
		if s.RedirectURI == "" {
			continue
		}
		clients, err := s.API.OAuthClients(ctx, p.Name)
		if err != nil {
			return e.problem("the clients of "+p.Name+" cannot be read", err)
		}
		for _, c := range clients {
			if slices.Contains(c.RedirectURIs, s.RedirectURI) {
				return e.fine(fmt.Sprintf("%s is a redirect URI of client %s (%s) in pool %s", s.RedirectURI, c.Name, c.ID, p.Name))
			}
			registered = append(registered, c.RedirectURIs...)
		}
	}
	if s.RedirectURI == "" {
		return nil
	}
	return e.tell(Finding{
		Area: e.area, State: Problem, Text: "no client has the redirect URI " + s.RedirectURI, Source: "--redirect-uri",
		Fix: "register it letter by letter with deputy client update; registered are: " + strings.Join(registered, ", "),
	})
}

func (s Service) discovery(e examination, p apiclient.UserPool) error {
	found, err := s.get(e.ctx, p.DiscoveryURL)
	if err != nil || found.status != http.StatusOK {
		return e.warn("the discovery document of "+p.Name+" cannot be reached from here at "+p.DiscoveryURL,
			"check --public-url of deputy serve, and that applications can reach that address", "--public-url")
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if wire.DecodeForeign(found.body, &document) != nil || document.Issuer != p.Issuer {
		return e.tell(Finding{Area: e.area, State: Problem, Text: "at " + p.DiscoveryURL + " there is the document of another issuer",
			Fix: "--public-url leads to another service: correct it, or the proxy in between", Source: "--public-url"})
	}
	return e.fine("pool " + p.Name + " is where its tokens say")
}

func (s Service) identityProviders(e examination, pool string) error {
	all, err := s.API.IdentityProviders(e.ctx, pool)
	if err != nil {
		return e.problem("the identity providers of "+pool+" cannot be read", err)
	}
	for _, p := range all {
		what := "identity provider " + pool + "/" + p.Name
		tested, err := s.API.TestIdentityProvider(e.ctx, pool, p.Name)
		if err != nil {
			if err := e.problem(what, err); err != nil {
				return err
			}
			continue
		}
		worked := true
		for _, c := range tested.Checks {
			if c.OK {
				continue
			}
			worked = false
			if err := e.tell(Finding{Area: e.area, State: Problem, Text: what + ": " + c.Message, Fix: c.Fix}); err != nil {
				return err
			}
		}
		if worked {
			if err := e.fine(what + " works as far as that shows without a login"); err != nil {
				return err
			}
		}
	}
	return nil
}

// providers looks at each credential provider, as far as that needs no person.
func (s Service) providers(ctx context.Context, tell Report) error {
	e := examination{ctx, "credential providers", tell}
	pools, err := s.API.WorkloadPools(ctx)
	if err != nil {
		return e.problem("the workload pools cannot be read", err)
	}
	for _, pool := range pools {
		all, err := s.API.Providers(ctx, pool.Name)
		if err != nil {
			return e.problem("the credential providers of "+pool.Name+" cannot be read", err)
		}
		for _, p := range all {
			if err := s.provider(e, pool.Name, p.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Service) provider(e examination, pool, provider string) error {
	what := "provider " + pool + "/" + provider
	p, err := s.API.CheckProvider(e.ctx, pool, provider)
	if err != nil {
		return e.problem(what, err)
	}
	worked := true
	for _, step := range p.Checks {
		f := Finding{Area: e.area, State: Problem, Text: what + ": " + step.Text.EN, Fix: step.Fix.EN}
		switch {
		case step.Outcome == "failed":
			worked = false
		case step.Fix.EN != "":
			f.State = Warning
		default:
			continue
		}
		if err := e.tell(f); err != nil {
			return err
		}
	}
	if !worked {
		return nil
	}
	return e.fine(what + " works as far as that shows without a person; deputy provider test " + provider + " goes the whole way")
}

// agents tells which agents are not ready, and why.
func (s Service) agents(ctx context.Context, tell Report) error {
	e := examination{ctx, "agents", tell}
	pools, err := s.API.WorkloadPools(ctx)
	if err != nil {
		return e.problem("the workload pools cannot be read", err)
	}
	for _, pool := range pools {
		all, err := s.API.Agents(ctx, pool.Name)
		if err != nil {
			return e.problem("the agents of "+pool.Name+" cannot be read", err)
		}
		for _, a := range all {
			what := "agent " + a.Pool + "/" + a.Name
			if a.State == "ready" {
				err = e.fine(what + " is ready")
			} else {
				err = e.warn(fmt.Sprintf("%s is %s: %s", what, a.State, a.Reason), "see its log", "")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// recent is how far back failures are looked for.
const recent = 24 * time.Hour

// failures sums up what the audit log has of failures lately: the same ones
// together, with what they were about and how often they came.
func (s Service) failures(ctx context.Context, tell Report) error {
	e := examination{ctx, "last 24 hours", tell}
	records, err := s.API.Audit(ctx, audit.Filter{Outcome: audit.Failed, Newest: true, Limit: 1000})
	if err != nil {
		return e.problem("the audit log cannot be read", err)
	}
	type kind struct{ action, provider, reason string }
	type count struct {
		kind
		times   int
		message string
		last    time.Time
	}
	var counts []*count
	for _, r := range records {
		if s.Now().Sub(r.Entry.Time) > recent {
			continue
		}
		k := kind{r.Entry.Action, r.Entry.Provider, r.Entry.Reason}
		i := slices.IndexFunc(counts, func(c *count) bool { return c.kind == k })
		if i < 0 {
			i = len(counts)
			counts = append(counts, &count{kind: k})
		}
		counts[i].times++
		counts[i].message, counts[i].last = r.Entry.Detail["message"], r.Entry.Time
	}
	for _, c := range counts {
		text := fmt.Sprintf("%s failed %d times, last %s", c.action, c.times, c.last.Local().Format("2006-01-02 15:04"))
		if c.provider != "" {
			text += " with " + c.provider
		}
		text += ": " + c.reason
		if c.message != "" {
			text += ", " + c.message
		}
		if err := e.warn(text, "see deputy audit list --outcome failed --action "+c.action, ""); err != nil {
			return err
		}
	}
	if len(counts) == 0 {
		return e.fine("nothing failed")
	}
	return nil
}

// Failed is the error of a report that has problems.
func Failed(problems int) error {
	if problems == 0 {
		return nil
	}
	return fault.New(fault.Conflict, "doctor_problems", "problems found: %d", problems).WithFix("do what is said with each, then look again")
}

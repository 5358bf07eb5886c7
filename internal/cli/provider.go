package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// providerCommand is deputy provider.
type providerCommand struct {
	Vendors providerVendors `cmd:"" help:"List the vendors that Deputy knows, or tell about one."`
	List    providerList    `cmd:"" help:"List the credential providers."`
	Show    providerShow    `cmd:"" help:"Show a credential provider and its callback URL."`
	Create  providerCreate  `cmd:"" help:"Make a credential provider."`
	Update  providerUpdate  `cmd:"" help:"Change a credential provider; what is not named stays."`
	Test    providerTest    `cmd:"" help:"Try a credential provider out, step by step, with your browser."`
	Delete  providerDelete  `cmd:"" help:"Delete a credential provider with all grants to it."`
}

type providerVendors struct {
	remote
	ID string `arg:"" optional:"" help:"Of the vendor to tell about."`
}

// Run implements kong's command.
func (v providerVendors) Run(ctx context.Context, o output) error {
	api, err := v.client()
	if err != nil {
		return err
	}
	all, err := api.Vendors(ctx)
	if err != nil {
		return err
	}
	if v.ID != "" {
		return printVendor(o, all, v.ID)
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, one := range all {
		if err := o.print(one, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\n", one.ID, one.Name.EN, one.Docs)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

func printVendor(o output, all []apiclient.Vendor, id string) error {
	ids := make([]string, len(all))
	for i, v := range all {
		if ids[i] = v.ID; v.ID != id {
			continue
		}
		return o.print(v, func(w io.Writer) error {
			t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
			_, err := fmt.Fprintf(t, "id\t%s\nname\t%s\ndocumentation\t%s\nsetup\t%s\n", v.ID, v.Name.EN, v.Docs, v.Setup.EN)
			for _, s := range v.Scopes {
				if err == nil {
					_, err = fmt.Fprintf(t, "scope\t%s\t%s\n", s.Scope, s.What.EN)
				}
			}
			if err != nil {
				return err
			}
			return t.Flush()
		})
	}
	return fault.New(fault.NotFound, "vendor_unknown", "there is no vendor %q", name.Clip(id, 80)).WithFix("%s", name.DidYouMean(id, ids, "use custom, and give its endpoints"))
}

// inWorkloadPool names a workload pool.
type inWorkloadPool struct {
	remote
	Pool string `help:"Name of the workload pool, ${default} by default." default:"default" placeholder:"NAME"`
}

type providerList struct{ inWorkloadPool }

// Run implements kong's command.
func (l providerList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	all, err := api.Providers(ctx, l.Pool)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, p := range all {
		if err := o.print(p, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, cmp.Or(p.Vendor, p.Type), cmp.Or(p.Flow, "-"), strings.Join(p.Scopes, " "))
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// oneProvider names a credential provider.
type oneProvider struct {
	inWorkloadPool
	Name string `arg:"" help:"Name of the credential provider."`
}

func printProvider(o output, p apiclient.Provider) error {
	return o.print(p, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, r := range append([][2]string{
			{"name", p.Name}, {"type", p.Type}, {"vendor", p.Vendor}, {"flow", p.Flow}, {"client id", p.ClientID}, {"scopes", strings.Join(p.Scopes, " ")},
			{"authenticates by", p.AuthMethod}, {"audience", p.Audience}, {"resource", p.Resource}, {"assertion", p.Assertion}, {"only for", strings.Join(p.Workloads, " ")},
			{"base", p.Endpoints.Base}, {"authorization", p.Endpoints.Authorization}, {"token", p.Endpoints.Token}, {"user info", p.Endpoints.UserInfo},
			{"revocation", p.Endpoints.Revocation}, {"API", p.Endpoints.API},
			{"discovery URL", p.DiscoveryURL}, {"issuer", p.Issuer}, {"said: authorization", p.Discovered.Authorization}, {"said: token", p.Discovered.Token},
			{"callback URL", p.CallbackURL}, {"changed", shortTime(p.UpdatedAt)},
		}, append(mcpRows(p), kindRows(p.ProviderSettings)...)...) {
			if r[1] == "" {
				continue
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, s := range p.Checks {
			if err := printStep(w, s); err != nil {
				return err
			}
		}
		return nil
	})
}

type providerShow struct{ oneProvider }

// Run implements kong's command.
func (s providerShow) Run(ctx context.Context, o output) error {
	api, err := s.client()
	if err != nil {
		return err
	}
	p, err := api.Provider(ctx, s.Pool, s.Name)
	if err != nil {
		return err
	}
	return printProvider(o, p)
}

type providerCreate struct {
	oneProvider
	Type   string `help:"What it gives: ${enum}; ${default} by default." enum:"oauth2,api_key,basic,sts" default:"oauth2"`
	Vendor string `help:"Of oauth2: one that deputy provider vendors lists." placeholder:"ID"`
	Flow   string `help:"Of oauth2: how it gets tokens: USER_FEDERATION, M2M or ON_BEHALF_OF; the first by default." enum:",USER_FEDERATION,M2M,ON_BEHALF_OF" default:"" placeholder:"FLOW"`
	providerFlags
}

// Run implements kong's command.
func (c providerCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	s := apiclient.ProviderSettings{Type: c.Type, Vendor: c.Vendor, Flow: c.Flow}
	switch c.Type {
	case "api_key":
		s.APIKey = &apiclient.KeyHeader{}
	case "basic":
		s.Basic = &apiclient.Login{}
	case "sts":
		s.STS = &apiclient.TemporaryKeys{}
	}
	own, err := c.over(&s)
	if err != nil {
		return err
	}
	defer own.Clear()
	defer s.InitialAccessToken.Clear()
	made, err := api.CreateProvider(ctx, c.Pool, c.Name, s, own)
	if err != nil {
		return err
	}
	return printProvider(o, made)
}

type providerUpdate struct {
	oneProvider
	Rediscover bool `help:"Ask the MCP server and its authorization server again what they said when the provider was made."`
	providerFlags
}

// Run implements kong's command.
func (u providerUpdate) Run(ctx context.Context, o output) error {
	api, err := u.client()
	if err != nil {
		return err
	}
	p, err := api.Provider(ctx, u.Pool, u.Name)
	if err != nil {
		return err
	}
	own, err := u.over(&p.ProviderSettings)
	if err != nil {
		return err
	}
	defer own.Clear()
	p.Rediscover = u.Rediscover
	changed, err := api.UpdateProvider(ctx, u.Pool, u.Name, p.ProviderSettings, own)
	if err != nil {
		return err
	}
	return printProvider(o, changed)
}

type providerDelete struct{ oneProvider }

// Run implements kong's command.
func (d providerDelete) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if err := api.DeleteProvider(ctx, d.Pool, d.Name); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": d.Name}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s\n", d.Name)
		return err
	})
}

type providerTest struct{ oneProvider }

// testWait is how long one question waits for the end of a test.
const testWait = 20 * time.Second

// Run implements kong's command. For scripts it prints the test as it was begun,
// and as it ended.
func (t providerTest) Run(ctx context.Context, o output) error {
	api, err := t.client()
	if err != nil {
		return err
	}
	test, err := api.TestProvider(ctx, t.Pool, t.Name)
	if err != nil {
		return err
	}
	shown := 0
	for {
		if shown, err = t.print(o, test, shown); err != nil || test.State == "done" {
			break
		}
		if test, err = api.ProviderTest(ctx, t.Pool, t.Name, test.ID, testWait); err != nil {
			break
		}
	}
	if err == nil && !test.Works {
		err = fault.New(fault.Conflict, "provider_test_failed", "%s does not work yet", t.Name).WithFix("do what the failed step says, then test again")
	}
	return err
}

// print shows the steps after the first shown, and where to go on.
func (t providerTest) print(o output, test apiclient.ProviderTest, shown int) (int, error) {
	if o.json {
		if test.URL == "" && test.State != "done" {
			return shown, nil // nothing new
		}
		return len(test.Steps), o.print(test, nil)
	}
	for _, s := range test.Steps[min(shown, len(test.Steps)):] {
		if err := printStep(o.out, s); err != nil {
			return shown, err
		}
	}
	if test.URL != "" {
		if _, err := fmt.Fprintf(o.out, "\nFor the rest, open this in your browser and agree:\n\n    %s\n\n", test.URL); err != nil {
			return shown, err
		}
	}
	return len(test.Steps), nil
}

func printStep(w io.Writer, s apiclient.TestStep) error {
	marks := map[string]string{"passed": "✓", "failed": "✗", "skipped": "-"}
	text := fmt.Sprintf("%s %-13s  %s\n", marks[s.Outcome], s.Step, s.Text.EN)
	for _, line := range [][2]string{{"code", s.Code}, {"fix", s.Fix.EN}, {"paste", s.Paste}} {
		if line[1] != "" {
			text += fmt.Sprintf("    %-6s %s\n", line[0]+":", line[1])
		}
	}
	_, err := io.WriteString(w, text)
	return err
}

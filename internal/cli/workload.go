package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// workloadCommand is deputy workload.
type workloadCommand struct {
	List         workloadList   `cmd:"" help:"List a pool's workloads."`
	Show         workloadShow   `cmd:"" help:"Show a workload, and what it may do."`
	Create       workloadCreate `cmd:"" help:"Create a workload that Deputy does not launch."`
	Set          workloadSet    `cmd:"" help:"Change what a workload may do: whom it acts for, and who calls it."`
	Disable      workloadOff    `cmd:"" help:"Give a workload no tokens any more; those that it has end."`
	Enable       workloadOn     `cmd:"" help:"Give a disabled workload tokens again."`
	RevokeTokens workloadRevoke `cmd:"" name:"revoke-tokens" help:"End all access tokens that a workload has; it can get new ones."`
	Delete       workloadDelete `cmd:"" help:"Delete a workload, its tokens, and what was delegated to it."`
}

// oneWorkload names a workload.
type oneWorkload struct {
	inWorkloadPool
	Name string `arg:"" help:"Name of the workload."`
}

// change reads the workload, changes its settings and shows what came of it.
func (w oneWorkload) change(ctx context.Context, o output, change func(*apiclient.Client, *apiclient.WorkloadSettings) error) error {
	api, err := w.client()
	if err != nil {
		return err
	}
	found, err := api.Workload(ctx, w.Pool, w.Name)
	if err != nil {
		return err
	}
	if err := change(api, &found.WorkloadSettings); err != nil {
		return err
	}
	return showWorkload(o)(api.UpdateWorkload(ctx, w.Pool, w.Name, found.WorkloadSettings))
}

// showWorkload prints the answer of a call.
func showWorkload(o output) func(apiclient.Workload, error) error {
	return func(w apiclient.Workload, err error) error {
		if err != nil {
			return err
		}
		return o.print(w, func(out io.Writer) error {
			t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
			for _, r := range [][2]string{
				{"name", w.Name}, {"identity", w.SPIFFEID}, {"description", w.Description}, {"state", workloadState(w)}, {"called by", strings.Join(w.Callers, ", ")},
				{"asserts users of", strings.Join(w.AssertsFor, ", ")}, {"takes tokens of", w.UserTokens.DiscoveryURL}, {"for", strings.Join(w.UserTokens.AllowedAudiences, ", ")},
				{"from clients", strings.Join(w.UserTokens.AllowedClients, ", ")}, {"return URLs", strings.Join(w.ReturnURLs, ", ")}, {"created", shortTime(w.CreatedAt)},
			} {
				if r[1] == "" {
					continue
				}
				if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
					return err
				}
			}
			return t.Flush()
		})
	}
}

func workloadState(w apiclient.Workload) string {
	if w.Disabled {
		return "disabled"
	}
	return "active"
}

type workloadList struct{ inWorkloadPool }

// Run implements kong's command.
func (l workloadList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.Workloads(ctx, l.Pool)), func(w apiclient.Workload) []string {
		return []string{w.Name, workloadState(w), w.SPIFFEID, w.Description}
	})
}

type workloadShow struct{ oneWorkload }

// Run implements kong's command.
func (s workloadShow) Run(ctx context.Context, o output) error {
	api, err := s.client()
	if err != nil {
		return err
	}
	return showWorkload(o)(api.Workload(ctx, s.Pool, s.Name))
}

type workloadCreate struct {
	oneWorkload
	Description string `help:"What it is, for people."`
}

// Run implements kong's command.
func (c workloadCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	return showWorkload(o)(api.CreateWorkload(ctx, c.Pool, c.Name, apiclient.WorkloadSettings{Description: c.Description}))
}

type workloadSet struct {
	oneWorkload
	Description  *string  `help:"What it is, for people."`
	Caller       []string `help:"Let this workload of the pool call it for a user." placeholder:"NAME"`
	NoCaller     []string `help:"Do not let it any more." placeholder:"NAME"`
	AssertsFor   []string `help:"Let it act for users of this pool, or of this issuer, by their id alone, without proof." placeholder:"POOL|URL"`
	NoAssertsFor []string `help:"Do not let it any more." placeholder:"POOL|URL"`
	ReturnURL    []string `name:"return-url" help:"Let browsers be sent here after an authorization." placeholder:"URL"`
	NoReturnURL  []string `name:"no-return-url" help:"Do not let them any more." placeholder:"URL"`
	UserTokens   *string  `help:"Discovery URL of the issuer whose tokens prove a user to it, if it has no agentkit.yaml; empty for none." placeholder:"URL"`
	Audience     []string `help:"With --user-tokens: what the tokens' audience must be." placeholder:"NAME"`
	Client       []string `help:"With --user-tokens: client that tokens are taken from; any, without." placeholder:"ID"`
}

// Run implements kong's command.
func (s workloadSet) Run(ctx context.Context, o output) error {
	return s.change(ctx, o, func(api *apiclient.Client, now *apiclient.WorkloadSettings) error {
		add, remove, err := s.issuers(ctx, api)
		if err != nil {
			return err
		}
		if s.Description != nil {
			now.Description = *s.Description
		}
		now.Callers = changed(now.Callers, s.Caller, s.NoCaller)
		now.AssertsFor = changed(now.AssertsFor, add, remove)
		now.ReturnURLs = changed(now.ReturnURLs, s.ReturnURL, s.NoReturnURL)
		if s.UserTokens != nil {
			now.UserTokens = apiclient.UserTokens{DiscoveryURL: *s.UserTokens}
		}
		now.UserTokens.AllowedAudiences = changed(now.UserTokens.AllowedAudiences, s.Audience, nil)
		now.UserTokens.AllowedClients = changed(now.UserTokens.AllowedClients, s.Client, nil)
		return nil
	})
}

// issuers returns those that are added to whom it asserts for, and removed.
func (s workloadSet) issuers(ctx context.Context, api *apiclient.Client) (add, remove []string, err error) {
	for _, list := range []struct {
		given []string
		into  *[]string
	}{{s.AssertsFor, &add}, {s.NoAssertsFor, &remove}} {
		for _, issuer := range list.given {
			if !strings.Contains(issuer, "://") {
				pool, err := api.UserPool(ctx, issuer)
				if err != nil {
					return nil, nil, err
				}
				issuer = pool.Issuer
			}
			*list.into = append(*list.into, issuer)
		}
	}
	return add, remove, nil
}

// changed returns list with what is added and without what is removed.
func changed(list, add, remove []string) []string {
	for _, item := range add {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return slices.DeleteFunc(list, func(item string) bool { return slices.Contains(remove, item) })
}

type workloadOff struct{ oneWorkload }

// Run implements kong's command.
func (d workloadOff) Run(ctx context.Context, o output) error {
	return d.change(ctx, o, func(_ *apiclient.Client, now *apiclient.WorkloadSettings) error {
		now.Disabled = true
		return nil
	})
}

type workloadOn struct{ oneWorkload }

// Run implements kong's command.
func (e workloadOn) Run(ctx context.Context, o output) error {
	return e.change(ctx, o, func(_ *apiclient.Client, now *apiclient.WorkloadSettings) error {
		now.Disabled = false
		return nil
	})
}

type workloadRevoke struct{ oneWorkload }

// Run implements kong's command.
func (r workloadRevoke) Run(ctx context.Context, o output) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	if err := api.RevokeWorkloadTokens(ctx, r.Pool, r.Name); err != nil {
		return err
	}
	return revokedTokens(o, "of "+r.Name)
}

// revokedTokens says that tokens were ended.
func revokedTokens(o output, whose string) error {
	return o.print(map[string]string{"revoked": "tokens " + whose}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "revoked all workload access tokens %s\n", whose)
		return err
	})
}

type workloadDelete struct{ oneWorkload }

// Run implements kong's command.
func (d workloadDelete) Run(ctx context.Context, o output) error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if err := api.DeleteWorkload(ctx, d.Pool, d.Name); err != nil {
		return err
	}
	return o.print(map[string]string{"deleted": d.Name}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "deleted %s\n", d.Name)
		return err
	})
}

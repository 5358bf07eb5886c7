package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
)

// grantCommand is deputy grant.
type grantCommand struct {
	List   grantList   `cmd:"" help:"List what users gave credential providers."`
	Show   grantShow   `cmd:"" help:"Show a grant, and which workloads may use it."`
	Revoke grantRevoke `cmd:"" help:"Delete a grant with its delegations, and revoke its tokens at the third party."`
}

// heldBy narrows lists of grants and of delegations.
type heldBy struct {
	User     string `help:"Only of the user with this subject (usr_…)." placeholder:"ID"`
	Issuer   string `help:"Only of users of this issuer." placeholder:"URL"`
	Provider string `help:"Only of this credential provider." placeholder:"NAME"`
}

func (h heldBy) filter() apiclient.HeldFilter {
	return apiclient.HeldFilter{User: h.User, Issuer: h.Issuer, Provider: h.Provider}
}

// printEach writes items as lines: of JSON, or of a table with these columns.
func printEach[T any](o output, items iter.Seq2[T, error], columns func(T) []string) error {
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for item, err := range items {
		if err != nil {
			return err
		}
		if err := o.print(item, func(io.Writer) error {
			_, err := fmt.Fprintln(t, strings.Join(columns(item), "\t"))
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

// since is a time that may be unknown, as tables show it.
func since(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return shortTime(*t)
}

type grantList struct {
	inWorkloadPool
	heldBy
	State string `help:"Only in this state: active or reauthorize." enum:",active,reauthorize" default:"" placeholder:"STATE"`
}

// Run implements kong's command.
func (l grantList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	f := l.filter()
	f.State = l.State
	return printEach(o, api.Grants(ctx, l.Pool, f), func(g apiclient.Grant) []string {
		return []string{g.ID, g.Provider, g.User.Subject, g.Account, g.State, since(g.UsedAt), strings.Join(g.Scopes, " ")}
	})
}

// oneGrant names a grant.
type oneGrant struct {
	inWorkloadPool
	Grant string `arg:"" help:"Id of the grant (grt_…)."`
}

type grantShow struct{ oneGrant }

// shownGrant is a grant with its delegations.
type shownGrant struct {
	apiclient.Grant
	Delegations []apiclient.Delegation `json:"delegations"`
}

// Run implements kong's command.
func (s grantShow) Run(ctx context.Context, o output) error {
	api, err := s.client()
	if err != nil {
		return err
	}
	shown := shownGrant{Delegations: []apiclient.Delegation{}}
	if shown.Grant, err = api.Grant(ctx, s.Pool, s.Grant); err != nil {
		return err
	}
	for d, err := range api.Delegations(ctx, s.Pool, apiclient.HeldFilter{User: shown.User.Subject, Issuer: shown.User.Issuer, Provider: shown.Provider}) {
		if err != nil {
			return err
		}
		shown.Delegations = append(shown.Delegations, d)
	}
	return o.print(shown, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		for _, r := range [][2]string{
			{"id", shown.ID}, {"provider", shown.Provider}, {"user", shown.User.Subject}, {"issuer", shown.User.Issuer}, {"account there", shown.Account},
			{"scopes", strings.Join(shown.Scopes, " ")}, {"state", shown.State}, {"reason", shown.Reason}, {"token expires", since(shown.ExpiresAt)},
			{"last used", since(shown.UsedAt)}, {"since", shortTime(shown.CreatedAt)},
		} {
			if r[1] == "" {
				continue
			}
			if _, err := fmt.Fprintf(t, "%s\t%s\n", r[0], r[1]); err != nil {
				return err
			}
		}
		for _, d := range shown.Delegations {
			if _, err := fmt.Fprintf(t, "workload %s\t%s (%s)\n", d.Workload, strings.Join(d.Scopes, " "), d.ID); err != nil {
				return err
			}
		}
		return t.Flush()
	})
}

type grantRevoke struct{ oneGrant }

// Run implements kong's command.
func (r grantRevoke) Run(ctx context.Context, o output) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	if err := api.DeleteGrant(ctx, r.Pool, r.Grant); err != nil {
		return err
	}
	return o.print(map[string]string{"revoked": r.Grant}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s is gone; `deputy revocation list` shows what is still to be revoked at the third party\n", r.Grant)
		return err
	})
}

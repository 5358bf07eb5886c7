package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// operatorCommand is deputy operator-token.
type operatorCommand struct {
	List   operatorTokenList   `cmd:"" help:"List the tokens, who has them and when they were used; never the tokens themselves."`
	Create operatorTokenCreate `cmd:"" help:"Create a token; it is shown once."`
	Revoke operatorTokenRevoke `cmd:"" help:"Revoke a token at once; the last owner's stays."`
}

type operatorTokenList struct{ remote }

// Run implements kong's command.
func (l operatorTokenList) Run(ctx context.Context, o output) error {
	api, err := l.client()
	if err != nil {
		return err
	}
	return printEach(o, each(api.OperatorTokens(ctx)), func(t apiclient.OperatorToken) []string {
		until, used := "for ever", "never used"
		if !t.ExpiresAt.IsZero() {
			until = "until " + shortTime(t.ExpiresAt)
		}
		if !t.LastUsedAt.IsZero() {
			used = "used " + shortTime(t.LastUsedAt)
		}
		return []string{t.Name, t.Role, where(t.Pools), until, used, t.ID}
	})
}

// where says which pools a token is limited to.
func where(limit *apiclient.PoolLimit) string {
	if limit == nil {
		return "all pools"
	}
	var all []string
	for _, pool := range limit.Workload {
		all = append(all, "workload pool "+pool)
	}
	for _, pool := range limit.User {
		all = append(all, "user pool "+pool)
	}
	return strings.Join(all, ", ")
}

type operatorTokenCreate struct {
	remote
	Name         string   `arg:"" help:"Who calls with it, in the audit log."`
	Role         string   `help:"auditor: reads everything and changes nothing; operator: does the day's work; owner: also says who operates, and rotates keys." required:"" enum:"auditor,operator,owner" placeholder:"ROLE"`
	WorkloadPool []string `name:"workload-pool" help:"Workload pool that it is limited to; may be repeated. It sees all pools if none is given." placeholder:"NAME"`
	UserPool     []string `name:"user-pool" help:"User pool that it is limited to; may be repeated." placeholder:"NAME"`
	Days         int      `help:"For how many days it is good, at most 366; ${default} by default." default:"90" placeholder:"N"`
}

// Run implements kong's command.
func (c operatorTokenCreate) Run(ctx context.Context, o output) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var limit *apiclient.PoolLimit
	if len(c.WorkloadPool)+len(c.UserPool) > 0 {
		limit = &apiclient.PoolLimit{User: c.UserPool, Workload: c.WorkloadPool}
	}
	made, err := api.CreateOperatorToken(ctx, c.Name, c.Role, limit, time.Now().Add(time.Duration(c.Days)*24*time.Hour))
	if err != nil {
		return err
	}
	return o.print(made, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s may work as %s in %s until %s.\nToken, shown this once: %s\n\nKeep it in a file, for --token-file.\n",
			made.Name, made.Role, where(made.Pools), shortTime(made.ExpiresAt), made.Token)
		return err
	})
}

type operatorTokenRevoke struct {
	remote
	Token string `arg:"" help:"Name of the token, or its id (opt_…)."`
}

// Run implements kong's command.
func (r operatorTokenRevoke) Run(ctx context.Context, o output) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	tokens, err := api.OperatorTokens(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(tokens))
	for i, t := range tokens {
		if t.Name == r.Token || t.ID == r.Token {
			if err := api.RevokeOperatorToken(ctx, t.ID); err != nil {
				return err
			}
			return o.print(map[string]string{"revoked": t.ID}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "revoked %s (%s)\n", t.Name, t.ID)
				return err
			})
		}
		names[i] = t.Name
	}
	return fault.New(fault.NotFound, "operator-token_not_found", "there is no operator token %q", name.Clip(r.Token, 80)).
		WithFix("%s", name.DidYouMean(r.Token, names, "see: deputy operator-token list"))
}

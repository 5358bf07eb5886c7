package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// scimTokenCommand is deputy scim-token.
type scimTokenCommand struct {
	List   scimTokenList   `cmd:"" help:"List a pool's tokens; never the tokens themselves."`
	Create scimTokenCreate `cmd:"" help:"Create a token; it is shown once."`
	Revoke scimTokenRevoke `cmd:"" help:"Revoke a token at once."`
}

type scimTokenList struct{ inPool }

// Run implements kong's command.
func (l scimTokenList) Run(ctx context.Context, o output) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	tokens, err := client.ProvisioningTokens(ctx, l.Pool)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(o.out, 0, 8, 2, ' ', 0)
	for _, token := range tokens {
		if err := o.print(token, func(io.Writer) error {
			_, err := fmt.Fprintf(t, "%s\t%s\t%s\n", token.Name, token.CreatedAt.Local().Format("2006-01-02 15:04"), token.ID)
			return err
		}); err != nil {
			return err
		}
	}
	return t.Flush()
}

type scimTokenCreate struct {
	inPool
	Name string `arg:"" help:"Who calls with it, in the audit log."`
}

// Run implements kong's command.
func (c scimTokenCreate) Run(ctx context.Context, o output) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	made, token, err := client.CreateProvisioningToken(ctx, c.Pool, c.Name)
	if err != nil {
		return err
	}
	shown := struct {
		apiclient.ProvisioningToken
		Token string `json:"token"`
	}{made, token.RevealString()}
	return o.print(shown, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "SCIM address               %s\nToken, shown this once     %s\n", shown.URL, shown.Token)
		return err
	})
}

type scimTokenRevoke struct {
	inPool
	Name string `arg:"" help:"Name of the token."`
}

// Run implements kong's command.
func (r scimTokenRevoke) Run(ctx context.Context, o output) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	tokens, err := client.ProvisioningTokens(ctx, r.Pool)
	if err != nil {
		return err
	}
	var names []string
	for _, t := range tokens {
		if t.Name == r.Name {
			if err := client.DeleteProvisioningToken(ctx, r.Pool, t.ID); err != nil {
				return err
			}
			return o.print(map[string]string{"revoked": t.ID}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "revoked %s (%s)\n", t.Name, t.ID)
				return err
			})
		}
		names = append(names, t.Name)
	}
	return fault.New(fault.NotFound, "provisioning-token_not_found", "there is no provisioning token %q", name.Clip(r.Name, 80)).WithFix("%s", name.DidYouMean(r.Name, names, "see: deputy scim-token list "+r.Pool))
}

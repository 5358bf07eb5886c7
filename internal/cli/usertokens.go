package cli

import (
	"context"

	"github.com/deputy-id/deputy/internal/apiclient"
)

type userRevokeTokens struct{ oneUser }

// Run implements kong's command.
func (r userRevokeTokens) Run(ctx context.Context, o output) error {
	api, found, err := r.find(ctx)
	if err != nil {
		return err
	}
	if err := api.RevokeUserTokens(ctx, r.Pool, found.ID); err != nil {
		return err
	}
	return revokedTokens(o, "for "+found.UserName)
}

type userRevokeForeign struct {
	remote
	Issuer  string `arg:"" help:"Issuer of the user, as in his tokens."`
	Subject string `arg:"" help:"Subject of the user, as in his tokens."`
}

// Run implements kong's command.
func (r userRevokeForeign) Run(ctx context.Context, o output) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	if err := api.RevokeForeignTokens(ctx, apiclient.AgentFor{Issuer: r.Issuer, Subject: r.Subject}); err != nil {
		return err
	}
	return revokedTokens(o, "for "+r.Subject)
}

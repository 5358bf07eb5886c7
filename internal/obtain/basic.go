package obtain

import (
	"context"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/provider"
)

// basic returns the user name and password that the operator gave.
func (k *Kinds) basic(ctx context.Context, p guard.Permit, v provider.Provider) (provider.Credential, error) {
	password, err := k.Providers.Secret(ctx, p, v)
	if err != nil {
		return provider.Credential{}, err
	}
	return provider.Credential{Type: v.Type, Login: provider.Login{User: v.ClientID, Password: password}}, nil
}

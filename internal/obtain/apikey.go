package obtain

import (
	"context"

	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/provider"
)

// apiKey returns the key that the operator gave, and where requests carry it.
func (k *Kinds) apiKey(ctx context.Context, p guard.Permit, v provider.Provider) (provider.Credential, error) {
	key, err := k.Providers.Secret(ctx, p, v)
	if err != nil {
		return provider.Credential{}, err
	}
	return provider.Credential{Type: v.Type, Key: provider.Key{Value: key, Header: v.Options.Header, Prefix: v.Options.Prefix}}, nil
}

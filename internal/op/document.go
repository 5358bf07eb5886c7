package op

import (
	"context"
	"reflect"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/registration"
	"github.com/deputy-id/deputy/internal/userpool"
)

// clients finds the clients of pools: those that are stored, and in pools that
// allow it those whose client_id is the URL of a Client ID Metadata Document. The
// document is what counts; the store gets a copy when a person lets the client in
// (see keep), so that codes, consents and tokens have something to refer to and
// strangers cannot fill it.
type clients struct {
	clientStore
	pools     userpool.Pools
	documents *registration.Documents
	guard     *guard.Guard
}

// clientStore has the clients that are stored.
type clientStore interface{ userpool.Clients }

// Client implements [userpool.Clients].
func (s clients) Client(ctx context.Context, pool, id string) (userpool.Client, error) {
	if !registration.IsDocument(id) {
		return s.clientStore.Client(ctx, pool, id)
	}
	p, err := s.pools.Pool(ctx, pool)
	if err != nil {
		return userpool.Client{}, err
	}
	if !p.Settings.MetadataDocuments {
		return userpool.Client{}, userpool.NotFound("client", id)
	}
	return s.documents.Client(ctx, p, id)
}

// keep stores a copy of a document client as it is now.
func (s clients) keep(ctx context.Context, c userpool.Client) error {
	if c.Origin != userpool.ByDocument {
		return nil
	}
	stored, err := s.clientStore.Client(ctx, c.Pool, c.ID)
	if fault.Is(err, fault.NotFound) {
		p, err := s.guard.Allow(ctx, c.Caller(), userpool.ActionCreateClient, c.Resource())
		if err != nil {
			return err
		}
		if err = s.CreateClient(ctx, p, c); !fault.Is(err, fault.Conflict) {
			return err
		}
		stored, err = s.clientStore.Client(ctx, c.Pool, c.ID) // a request that ran beside this one was faster
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	c.CreatedAt, c.Version = stored.CreatedAt, stored.Version
	if reflect.DeepEqual(c, stored) {
		return nil
	}
	p, err := s.guard.Allow(ctx, c.Caller(), userpool.ActionUpdateClient, c.Resource())
	if err != nil {
		return err
	}
	if err = s.UpdateClient(ctx, p, c); fault.Is(err, fault.Conflict) {
		return nil // the same document, written at the same moment
	}
	return err
}

package storetest

import (
	"context"
	"testing"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
)

// nowhere records nothing: permits made for tests are recorded by the store
// that they are used on, if at all.
type nowhere struct{}

func (nowhere) Append(context.Context, audit.Entry) error { return nil }

// Permit returns the permit that Deputy itself would get.
func Permit(t testing.TB, action guard.Action, r guard.Resource) guard.Permit {
	t.Helper()
	g := guard.Guard{Log: nowhere{}}
	p, err := g.Allow(t.Context(), name.Caller{Kind: name.System}, action, r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Package workloadtest has the suite that holds a store to the contracts of package workload, and what tests need in its place.
package workloadtest

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/name"
)

// NothingRevoked is a workload.Standings that knows of no revocation, for tests
// in which tokens are made by others than the server.
type NothingRevoked struct{}

// Standing implements workload.Standings.
func (NothingRevoked) Standing(context.Context, name.Workload, name.User) (time.Time, error) {
	return time.Time{}, nil
}

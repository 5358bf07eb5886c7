package factortest_test

import (
	"testing"

	"github.com/deputy-id/deputy/internal/factor/factortest"
	"github.com/deputy-id/deputy/internal/userpool/userpooltest"
)

func TestMemory(t *testing.T) {
	factortest.Run(t, func(*testing.T) factortest.Backend {
		log := userpooltest.NewMemory()
		return factortest.Backend{Stores: &factortest.Memory{Log: log}, Entries: log.Entries}
	})
}

package userpooltest_test

import (
	"testing"

	"github.com/deputy-id/deputy/internal/userpool/userpooltest"
)

func TestMemory(t *testing.T) {
	userpooltest.Run(t, func(*testing.T) userpooltest.Backend {
		m := userpooltest.NewMemory()
		return userpooltest.Backend{Stores: m, Entries: m.Entries}
	})
}

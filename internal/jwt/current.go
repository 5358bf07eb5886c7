package jwt

import "sync/atomic"

// Current holds the signing keys of one owner while they are rotated. All
// methods may be called concurrently; before the first [Current.Use] there are
// no keys.
type Current struct{ held atomic.Pointer[held] }

type held struct {
	signer Key
	set    Set
}

// Use replaces the keys. The last one signs, all verify; there must be one.
func (c *Current) Use(keys ...Key) { c.held.Store(&held{keys[len(keys)-1], NewSet(keys...)}) }

// Signer returns the key that signs.
func (c *Current) Signer() Key { return c.held.Load().signer }

// Set returns the public halves of all keys.
func (c *Current) Set() Set { return c.held.Load().set }

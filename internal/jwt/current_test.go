package jwt_test

import (
	"testing"

	"github.com/deputy-id/deputy/internal/jwt"
)

func TestCurrentKeysAreReplacedTogether(t *testing.T) {
	var list []jwt.Key
	for range 3 {
		k, err := jwt.Generate(jwt.ES256)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, k)
	}
	var c jwt.Current
	c.Use(list[:2]...)
	if c.Signer().ID != list[1].ID || c.Set().Len() != 2 {
		t.Errorf("%s signs of %d", c.Signer(), c.Set().Len())
	}
	before := c.Set()
	c.Use(list...)
	if c.Signer().ID != list[2].ID || c.Set().Len() != 3 || before.Len() != 2 {
		t.Errorf("%s signs of %d", c.Signer(), c.Set().Len())
	}
}

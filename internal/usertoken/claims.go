package usertoken

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/wire"
)

// Claims are what a verified token says, as far as it is judged.
type Claims struct {
	jwt.Claims
	more extra
}

// extra are claims besides those of jwt.Claims.
type extra struct {
	AuthorizedParty string `json:"azp"`     // OpenID Connect Core 1.0, section 2
	Nonce           *any   `json:"nonce"`   // in ID tokens
	AtHash          *any   `json:"at_hash"` // in ID tokens
	Events          *any   `json:"events"`  // in logout tokens
}

// has reports whether a claim is one of values, or a list with one of them, or
// a text of several words with one of them if it is scp, which some issuers have
// in place of scope.
func (c Claims) has(claim string, values []string) bool {
	var all map[string]json.RawMessage
	if wire.DecodeForeign(c.Raw, &all) != nil {
		return false
	}
	var list []json.RawMessage
	if json.Unmarshal(all[claim], &list) != nil {
		list = []json.RawMessage{all[claim]}
	}
	for _, item := range list {
		said := []string{string(item)} // a number or a truth value
		var text string
		switch err := json.Unmarshal(item, &text); {
		case len(item) == 0 || string(item) == "null":
			continue
		case err == nil && claim == "scp":
			said = strings.Fields(text)
		case err == nil:
			said = []string{text}
		}
		if slices.ContainsFunc(said, func(s string) bool { return slices.Contains(values, s) }) {
			return true
		}
	}
	return false
}

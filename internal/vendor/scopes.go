package vendor

import (
	"slices"

	"github.com/deputy-id/deputy/internal/name"
)

// withIncluded returns scopes that the vendor granted with those that come with
// them under names of their own: what it grants to "user:email" it may call
// "user".
func (e Entry) withIncluded(granted name.Scopes) name.Scopes {
	if len(e.Includes) == 0 {
		return granted
	}
	list := granted.List()
	for i := 0; i < len(list); i++ { // while it grows
		for _, s := range e.Includes[list[i]] {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	all, err := name.NewScopes(list...)
	if err != nil { // too many: those that the vendor named are enough
		return granted
	}
	return all
}

// Supersedes reports whether an authorization takes the place of the one that
// its user gave to the same client, at the same account, before. The former
// tokens are dead then, or they cannot be revoked without the new ones.
func (e Entry) Supersedes() bool { return e.Grants == GrantsOne || e.Revocation.All }

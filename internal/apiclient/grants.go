package apiclient

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/name"
)

// Grant is what a user gave a credential provider.
type Grant struct {
	ID        string     `json:"id"`
	Provider  string     `json:"provider"`
	User      name.User  `json:"user"`
	Account   string     `json:"account,omitempty"` // at the third party
	Scopes    []string   `json:"scopes"`
	State     string     `json:"state"` // "active" or "reauthorize"
	Reason    string     `json:"reason,omitempty"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"` // of the access token
	UsedAt    *time.Time `json:"usedAt,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	UpdatedAt time.Time  `json:"updatedAt"`
}

// Delegation is a user's permission for a workload to use a grant.
type Delegation struct {
	ID        string    `json:"id"`
	Workload  string    `json:"workload"`
	Grant     string    `json:"grant"`
	Provider  string    `json:"provider"`
	User      name.User `json:"user"`
	Account   string    `json:"account,omitempty"`
	Scopes    []string  `json:"scopes"`
	State     string    `json:"state"` // of the grant
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Revocation is what is still to be revoked at a third party.
type Revocation struct {
	ID        string    `json:"id"`
	Grant     string    `json:"grant"`
	Provider  string    `json:"provider"`
	User      name.User `json:"user"`
	Account   string    `json:"account,omitempty"`
	Cause     string    `json:"cause"`
	Attempts  int64     `json:"attempts"`
	LastError string    `json:"lastError,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	DueAt     time.Time `json:"dueAt"`
	GiveUpAt  time.Time `json:"giveUpAt"`
}

// HeldFilter selects grants or delegations; fields left empty do not narrow.
type HeldFilter struct {
	User     string // subject
	Issuer   string
	Provider string
	State    string // grants only
	Workload string // delegations only
}

func (f HeldFilter) query() url.Values {
	v := url.Values{}
	for key, value := range map[string]string{"user": f.User, "issuer": f.Issuer, "provider": f.Provider, "state": f.State, "workload": f.Workload} {
		if value != "" {
			v.Set(key, value)
		}
	}
	return v
}

// paged goes through a list that comes in pages. It ends with the first error.
func paged[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			var one list[T]
			if err := c.call(ctx, http.MethodGet, path, query, nil, &one); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range one.Items {
				if !yield(item, nil) {
					return
				}
			}
			if one.Next == "" {
				return
			}
			query.Set("after", one.Next)
		}
	}
}

// Grants returns the grants of a workload pool that f selects.
func (c *Client) Grants(ctx context.Context, pool string, f HeldFilter) iter.Seq2[Grant, error] {
	return paged[Grant](ctx, c, path("workload-pools", pool, "grants"), f.query())
}

// Grant returns a grant.
func (c *Client) Grant(ctx context.Context, pool, id string) (Grant, error) {
	var g Grant
	err := c.call(ctx, http.MethodGet, path("workload-pools", pool, "grants", id), nil, nil, &g)
	return g, err
}

// DeleteGrant deletes a grant with its delegations; its tokens are revoked at
// the third party.
func (c *Client) DeleteGrant(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "grants", id), nil, nil, nil)
}

// Delegations returns the delegations of a workload pool that f selects.
func (c *Client) Delegations(ctx context.Context, pool string, f HeldFilter) iter.Seq2[Delegation, error] {
	return paged[Delegation](ctx, c, path("workload-pools", pool, "delegations"), f.query())
}

// DeleteDelegation deletes a delegation, and its grant when no other workload
// may use it.
func (c *Client) DeleteDelegation(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("workload-pools", pool, "delegations", id), nil, nil, nil)
}

// Revocations returns what is still to be revoked at third parties.
func (c *Client) Revocations(ctx context.Context, pool string) iter.Seq2[Revocation, error] {
	return paged[Revocation](ctx, c, path("workload-pools", pool, "revocations"), url.Values{})
}

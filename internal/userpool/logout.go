package userpool

import (
	"context"
	"time"

	"github.com/deputy-id/deputy/internal/guard"
)

// LogoutNotice is the duty to tell a client that a session has ended, in which
// the client got tokens (OpenID Connect Back-Channel Logout 1.0). A store writes
// it in the transaction that ends the session, however that came about, so that
// no end is forgotten when a process dies.
type LogoutNotice struct {
	ID        string // "lo_…"
	Pool      string
	ClientID  string
	UserID    string
	SessionID string
	CreatedAt time.Time
	DueAt     time.Time // of the next attempt
	Attempts  int64     // that have failed so far
}

// ActionNotifyLogout is telling a client, or giving up to do so.
const ActionNotifyLogout guard.Action = "session.notify-logout"

// LogoutTopic is what a store's bell rings when there are new notices.
const LogoutTopic = "logout notices"

// Resource returns what guard permits about n: the session that it is about.
func (n LogoutNotice) Resource() guard.Resource { return SessionResource(n.Pool, n.SessionID) }

// LogoutNotices keeps logout notices. They come about when a session ends by
// [Sessions], when a change of its user makes it void (see [Session.Alive]), or
// when the user is deleted: one for each client that has a family of tokens of
// that session, and a BackchannelLogoutURI. A session that merely expires is
// told to nobody.
type LogoutNotices interface {
	// TakeLogoutNotices returns at most limit notices of all pools that are due at now, the oldest first, and
	// puts them off until then: meanwhile nobody else gets them. This is no change to be permitted.
	TakeLogoutNotices(ctx context.Context, now, then time.Time, limit int) ([]LogoutNotice, error)
	// RetryLogoutNotice counts a failed attempt and makes the notice due at due. Nor is this.
	RetryLogoutNotice(ctx context.Context, n LogoutNotice, due time.Time) error
	// FinishLogoutNotice removes a notice; ActionNotifyLogout. NotFound("logout notice", "") if there is none.
	FinishLogoutNotice(ctx context.Context, p guard.Permit, n LogoutNotice) error
}

package recovery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/mail"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/userpool"
)

const (
	senders  = 2               // letters on their way at once
	poll     = 5 * time.Second // for letters of other replicas, and those to be tried again
	lease    = 2 * time.Minute // how long a letter is one process's: longer than sending takes
	maxTries = 7
	pause    = time.Minute // after the first try; it doubles with each, for about an hour in all
	perHour  = 5           // letters that an address of a pool gets, whoever asks for them
)

// Run sends letters until ctx is done. Without Mail it returns at once.
func (r *Recovery) Run(ctx context.Context) {
	if r.Mail == nil {
		return
	}
	var group sync.WaitGroup
	for range senders {
		group.Go(func() { r.work(ctx) })
	}
	group.Wait()
}

func (r *Recovery) work(ctx context.Context) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		more, err := r.Deliver(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.LogAttrs(ctx, slog.LevelWarn, "a letter waits", slog.Any("err", fault.As(err)))
		}
		if more && err == nil {
			continue
		}
		select {
		case <-tick.C:
		case <-r.wake:
		case <-ctx.Done():
			return
		}
	}
}

// Deliver tries the letter that has been due for longest, and reports whether
// there was one. Its error is about us; what becomes of the letter stands in
// the audit log.
func (r *Recovery) Deliver(ctx context.Context) (bool, error) {
	now := r.now()
	l, ok, err := r.Letters.TakeLetter(ctx, r.owner, now, now.Add(lease))
	if err != nil || !ok {
		return false, err
	}
	m, why, err := r.compose(ctx, l)
	switch {
	case ctx.Err() != nil:
		return true, ctx.Err() // we are ending; another replica, or the next start, takes it over
	case err != nil:
		return true, r.later(ctx, l, err)
	case why != "":
		return true, r.settle(ctx, l, userpool.LetterDropped, why)
	}
	err = r.Mail.Send(ctx, m)
	switch {
	case err == nil:
		return true, r.settle(ctx, l, userpool.LetterSent, "")
	case ctx.Err() != nil:
		return true, err
	case fault.Is(err, fault.Unavailable):
		return true, r.later(ctx, l, err)
	default:
		return true, r.fail(ctx, l, err)
	}
}

// later gives a letter back after trouble that may pass, unless it has been
// tried often enough.
func (r *Recovery) later(ctx context.Context, l userpool.Letter, trouble error) error {
	if l.Tries >= maxTries {
		return r.fail(ctx, l, trouble)
	}
	r.Log.LogAttrs(ctx, slog.LevelWarn, "letter not sent; tried again later", slog.String("letter", l.ID), slog.String("pool", l.Pool),
		slog.Int("tries", l.Tries), slog.Any("err", fault.As(trouble)))
	return r.Letters.PostponeLetter(ctx, l, r.now().Add(pause<<(l.Tries-1)))
}

func (r *Recovery) fail(ctx context.Context, l userpool.Letter, trouble error) error {
	r.Log.LogAttrs(ctx, slog.LevelError, "letter not sent", slog.String("letter", l.ID), slog.String("pool", l.Pool),
		slog.Int("tries", l.Tries), slog.Any("err", fault.As(trouble)))
	return r.settle(ctx, l, userpool.LetterFailed, fault.As(trouble).Code)
}

func (r *Recovery) settle(ctx context.Context, l userpool.Letter, state userpool.LetterState, why string) error {
	l.State = state
	p, err := r.Guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionSettleLetter, l.Resource())
	if err != nil {
		return err
	}
	p = p.Detail(map[string]string{"kind": string(l.Kind), "state": string(state)})
	if state != userpool.LetterSent {
		p = p.Failed(why)
	}
	return r.Letters.SettleLetter(ctx, p, l)
}

// compose writes the letter, or says why there is none to write. The proofs in
// it are made now: what waits in the database is good for nothing.
func (r *Recovery) compose(ctx context.Context, l userpool.Letter) (m mail.Message, why string, err error) {
	pool, err := r.Pools.Pool(ctx, l.Pool)
	if err != nil {
		return m, "", err
	}
	if !r.Offers(pool, l.Kind) {
		return m, "the pool does not offer this any more", nil
	}
	sent, err := r.Letters.LettersSent(ctx, l.Pool, l.Email, r.now().Add(-time.Hour))
	if err != nil {
		return m, "", err
	}
	if sent >= perHour {
		return m, "the address got enough letters", nil
	}
	switch l.Kind {
	case userpool.LetterReset:
		return r.composeReset(ctx, pool, l)
	case userpool.LetterSignUp:
		return r.composeSignUp(ctx, pool, l)
	default:
		return r.composeUser(ctx, pool, l)
	}
}

// maxNamed bounds how many users one letter names.
const maxNamed = 10

func (r *Recovery) composeReset(ctx context.Context, pool userpool.Pool, l userpool.Letter) (mail.Message, string, error) {
	users, err := r.Proofs.UsersByEmail(ctx, l.Pool, l.Email, maxNamed)
	if err != nil {
		return mail.Message{}, "", err
	}
	var links []account
	for _, u := range users {
		if u.Disabled || u.PasswordHash.Empty() {
			continue // logs in otherwise, or not at all
		}
		link, err := r.prove(ctx, pool, userpool.ResetPassword, u.ID, u.Email)
		if err != nil {
			return mail.Message{}, "", err
		}
		links = append(links, account{u.UserName, link})
		l.Email = u.Email // as it was stored, not as it was typed
	}
	if len(links) == 0 {
		return mail.Message{}, "nobody with a password has the address", nil
	}
	return message(l, textReset(pool, links)), "", nil
}

func (r *Recovery) composeSignUp(ctx context.Context, pool userpool.Pool, l userpool.Letter) (mail.Message, string, error) {
	users, err := r.Proofs.UsersByEmail(ctx, l.Pool, l.Email, maxNamed)
	if err != nil {
		return mail.Message{}, "", err
	}
	if len(users) > 0 {
		names := make([]account, len(users))
		for i, u := range users {
			names[i].userName = u.UserName
		}
		recover := ""
		if r.Offers(pool, userpool.LetterReset) {
			recover = r.Start(pool.Name, userpool.LetterReset)
		}
		return message(l, textHasAccount(pool, names, recover)), "", nil
	}
	link, err := r.prove(ctx, pool, userpool.SignUp, "", l.Email)
	return message(l, textSignUp(pool, link)), "", err
}

func (r *Recovery) composeUser(ctx context.Context, pool userpool.Pool, l userpool.Letter) (mail.Message, string, error) {
	u, err := r.Users.User(ctx, l.Pool, l.UserID)
	if err != nil {
		return mail.Message{}, "", err
	}
	if l.Kind == userpool.LetterChanged {
		if mail.CheckAddress(l.Email) != nil {
			return mail.Message{}, "the former address is none", nil
		}
		return message(l, textChanged(pool, u)), "", nil
	}
	if u.Email != l.Email || u.EmailVerified || u.Disabled {
		return mail.Message{}, "there is nothing to verify any more", nil
	}
	link, err := r.prove(ctx, pool, userpool.VerifyEmail, u.ID, u.Email)
	return message(l, textVerify(pool, account{u.UserName, link})), "", err
}

// prove makes a proof and returns its link.
func (r *Recovery) prove(ctx context.Context, pool userpool.Pool, purpose userpool.Purpose, userID, email string) (string, error) {
	v, token := userpool.NewProof(pool.Name, purpose, userID, email, r.now())
	p, err := r.Guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionPutProof, v.Resource())
	if err != nil {
		return "", err
	}
	return r.Link(pool.Name, purpose, token), r.Proofs.PutProof(ctx, p.Detail(map[string]string{"purpose": string(purpose), "user": userID}), v)
}

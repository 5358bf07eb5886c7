package deputy

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// keepFor is how long a [Caller] uses a credential without a word from Deputy: what a user or an operator has
	// taken back is not used for longer.
	keepFor = time.Minute
	// renewBefore is how long before its end a workload access token is replaced.
	renewBefore = time.Minute
)

// Caller sends requests with credentials outside of an [Agent]: from a job that
// runs by the clock, or under an agent framework of your own. It is safe for
// concurrent use, and must not be copied or changed after its first use.
type Caller struct {
	// Deputy is the client to use. Nil means [FromEnvironment].
	Deputy *Client
	// Token is the workload access token of the request that is being answered; see [Client.Authenticate]. Empty: the
	// workload acts for itself, with tokens that it gets for its launch file and renews.
	Token Secret
	// Ask is told of a question to the user, with the link to show him, and of each state that it comes to. The
	// request waits for the end of it. Nil: the request ends with a [*ConsentRequired].
	Ask func(ctx context.Context, a Authorization)
	// Transport carries the requests to third parties. Nil means the same as for an [Agent].
	Transport http.RoundTripper

	once   sync.Once
	setup  error
	wallet *wallet
	own    ownToken
}

// HTTP returns a client that sends requests to the origins of these credentials,
// each with its credential, and to nowhere else. Any library that takes an
// [http.Client] can be given it: the official client of a third party, or one
// that speaks MCP.
func (c *Caller) HTTP(creds ...Credential) (*http.Client, error) {
	c.once.Do(c.prepare)
	if c.setup != nil {
		return nil, c.setup
	}
	return boundClient(c.Transport, c.wallet, "", creds)
}

func (c *Caller) prepare() {
	if c.Deputy == nil {
		if c.Deputy, c.setup = FromEnvironment(); c.setup != nil {
			return
		}
	}
	if c.setup = c.Deputy.ready(); c.setup != nil {
		return
	}
	if c.Transport == nil {
		c.Transport = thirdPartyTransport()
	}
	c.own = ownToken{client: c.Deputy, turn: make(chan struct{}, 1)}
	identity := c.own.get
	if !c.Token.Empty() {
		identity = func(context.Context, Secret) (Secret, error) { return c.Token, nil }
	}
	c.wallet = &wallet{deputy: c.Deputy, identity: identity, consent: c.consent, keep: keepFor}
}

func (c *Caller) consent(ctx context.Context, wat Secret, _ Credential, _ string, a Authorization) error {
	if c.Ask == nil {
		return &ConsentRequired{a}
	}
	tell := func(a Authorization) { c.Ask(ctx, a) }
	tell(a)
	return c.Deputy.Follow(ctx, wat, a, tell)
}

// ownToken is the workload access token with which a workload acts for itself.
// turn is a lock whose waiters can be cancelled.
type ownToken struct {
	client  *Client
	turn    chan struct{}
	token   Secret
	expires time.Time
}

// get returns the token, and another one than that which Deputy refused.
func (o *ownToken) get(ctx context.Context, refused Secret) (Secret, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return Secret{}, ctx.Err()
	}
	if !o.token.Empty() && !o.token.equal(refused) && o.client.Now().Add(renewBefore).Before(o.expires) {
		return o.token, nil
	}
	token, expires, err := o.client.WorkloadToken(ctx, Secret{})
	if err != nil {
		return Secret{}, err
	}
	o.token, o.expires = token, expires
	return token, nil
}

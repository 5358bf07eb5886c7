package registration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/outbound"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// The bounds of Client ID Metadata Documents. What HTTP says about caching is
// kept to between the two: a login looks at the document several times, and a
// client that was taken over must not live on for days.
const (
	maxDocument  = 16 << 10 // bytes
	maxID        = 500      // bytes of a client_id
	maxDocuments = 1000     // kept at once
	maxFetches   = 8        // at once: strangers cause them
	fetchTime    = 5 * time.Second
	leastFresh   = time.Minute
	mostFresh    = time.Hour
	freshAnyway  = 5 * time.Minute // for a document that says nothing about it
	pause        = 5 * time.Second // before a document that could not be had is asked for again
)

// Documents finds clients whose client_id is the URL of a document (OAuth Client
// ID Metadata Document, draft-ietf-oauth-client-id-metadata-document). All fields
// are required; make it with [NewDocuments].
type Documents struct {
	outbound *outbound.Client
	now      func() time.Time
	slots    chan struct{}

	mu   sync.Mutex
	kept map[string]keptDocument
}

// keptDocument is a document, or why there is none. Errors are not to be cached
// (draft, section 4.3); what is kept of them is a pause, so that nobody can use
// Deputy to knock at somebody's door.
type keptDocument struct {
	metadata Metadata
	err      error
	until    time.Time
}

// NewDocuments returns Documents that has fetched nothing yet.
func NewDocuments(out *outbound.Client, now func() time.Time) *Documents {
	return &Documents{outbound: out, now: now, slots: make(chan struct{}, maxFetches), kept: map[string]keptDocument{}}
}

// IsDocument reports whether a client_id claims to be the URL of a document.
func IsDocument(id string) bool { return strings.HasPrefix(id, "https://") }

// Client returns the client of the pool that the document at id describes. It is
// not in the pool's store. An error is a fault of kind
//   - Invalid (client_document_invalid) for a document or an id that is not right,
//   - Throttled (client_document_busy) when too much is being fetched,
//   - Unavailable, Upstream or Forbidden when the document cannot be had.
func (d *Documents) Client(ctx context.Context, pool userpool.Pool, id string) (userpool.Client, error) {
	if why := wrongID(id); why != "" {
		return userpool.Client{}, invalidDocument(id, why)
	}
	m, err := d.metadata(ctx, id)
	if err != nil {
		return userpool.Client{}, err
	}
	c, err := m.Client(pool, d.now())
	if err == nil {
		c.ID, c.Name, c.Origin = id, documentName(id), userpool.ByDocument
		err = Check(c)
	}
	var wrong *oauth.Error
	if errors.As(err, &wrong) {
		return userpool.Client{}, invalidDocument(id, wrong.Description)
	}
	return c, err
}

// documentName is the unique name of the client with that id: the host is for
// people, the rest keeps two documents of one host apart.
func documentName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "document-" + hex.EncodeToString(sum[:16])
}

// Host returns the host of a document client's id: what people can judge.
func Host(id string) string {
	u, err := url.Parse(id)
	if err != nil {
		return ""
	}
	return u.Host
}

// wrongID says why id cannot be the URL of a document (draft, section 3).
func wrongID(id string) string {
	u, err := url.Parse(id)
	switch {
	case len(id) > maxID || oauth.CheckRegistered(id) != nil || err != nil || u.Scheme != "https":
		return "is not a plain https address"
	case u.Path == "" || u.Path == "/":
		return "has no path"
	case slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == "." || s == ".." }):
		return "has a path with dots in it"
	default:
		return ""
	}
}

func invalidDocument(id, why string) error {
	return fault.New(fault.Invalid, "client_document_invalid", "the client's metadata document %q is not valid: %s", name.Clip(id, 200), name.Clip(why, 200))
}

// metadata returns the document at id, fetched or kept.
func (d *Documents) metadata(ctx context.Context, id string) (Metadata, error) {
	now := d.now()
	d.mu.Lock()
	kept, ok := d.kept[id]
	d.mu.Unlock()
	if ok && now.Before(kept.until) {
		return kept.metadata, kept.err
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		return Metadata{}, fault.New(fault.Throttled, "client_document_busy", "too many metadata documents of clients are being fetched").
			WithFix("try again in a moment")
	}
	m, fresh, err := d.fetch(ctx, id)
	if err != nil {
		fresh = pause
	}
	if ctx.Err() == nil { // otherwise it says nothing about the document
		d.keep(id, keptDocument{m, err, now.Add(fresh)})
	}
	return m, err
}

// keep remembers a document. Over the bound, those that are not fresh go first,
// and then any.
func (d *Documents) keep(id string, k keptDocument) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.kept) >= maxDocuments {
		now := d.now()
		for other, o := range d.kept {
			if !now.Before(o.until) {
				delete(d.kept, other)
			}
		}
		for other := range d.kept {
			if len(d.kept) < maxDocuments {
				break
			}
			delete(d.kept, other)
		}
	}
	d.kept[id] = k
}

func (d *Documents) fetch(ctx context.Context, id string) (Metadata, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	answer, err := d.outbound.Do(ctx, outbound.Request{
		URL: id, Header: http.Header{"Accept": {"application/json"}}, MaxBody: maxDocument, Purpose: "client metadata document",
	})
	if err != nil {
		return Metadata{}, 0, err
	}
	if answer.Status != http.StatusOK {
		return Metadata{}, 0, invalidDocument(id, "it is answered with status "+strconv.Itoa(answer.Status))
	}
	media, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil || (media != "application/json" && !(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))) {
		return Metadata{}, 0, invalidDocument(id, "it is not JSON")
	}
	m, err := ParseDocument(id, answer.Body)
	return m, freshness(answer.Header), err
}

// freshness returns how long an answer may be used (RFC 9111, section 4.2), in
// our bounds.
func freshness(h http.Header) time.Duration {
	fresh := freshAnyway
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		directive = strings.ToLower(strings.TrimSpace(directive))
		if directive == "no-store" || directive == "no-cache" {
			return leastFresh
		}
		if seconds, ok := strings.CutPrefix(directive, "max-age="); ok {
			n, err := strconv.ParseUint(strings.Trim(seconds, `"`), 10, 31)
			if err != nil {
				return leastFresh
			}
			fresh = time.Duration(n) * time.Second
		}
	}
	return min(max(fresh, leastFresh), mostFresh)
}

// ParseDocument reads the document that came from id and holds it to what the
// draft demands beyond RFC 7591. An error is a fault of kind Invalid.
func ParseDocument(id string, b []byte) (Metadata, error) {
	m, err := Parse(b)
	if err != nil {
		return Metadata{}, invalidDocument(id, err.Error())
	}
	var own struct {
		ClientID string          `json:"client_id"`
		Secret   json.RawMessage `json:"client_secret"`
		Expires  json.RawMessage `json:"client_secret_expires_at"`
	}
	if err := wire.DecodeForeign(b, &own); err != nil {
		return Metadata{}, invalidDocument(id, fault.As(err).Message)
	}
	if m.TokenEndpointAuthMethod == "" {
		m.TokenEndpointAuthMethod = oauth.ClientAuthNone // the default of RFC 7591 is a secret, and there can be none
	}
	// What a client like this does not get is left out rather than refused: the document is written for all servers.
	m.GrantTypes = slices.DeleteFunc(m.GrantTypes, func(g string) bool { return g != oauth.GrantAuthorizationCode && g != oauth.GrantRefreshToken })
	switch {
	case own.ClientID != id:
		return Metadata{}, invalidDocument(id, "its client_id is another one")
	case own.Secret != nil || own.Expires != nil:
		return Metadata{}, invalidDocument(id, "it contains a secret")
	case m.TokenEndpointAuthMethod != oauth.ClientAuthNone && m.TokenEndpointAuthMethod != oauth.PrivateKeyJWT:
		return Metadata{}, invalidDocument(id, "its client authenticates neither by none nor by private_key_jwt")
	}
	for _, uri := range slices.Concat(m.RedirectURIs, m.PostLogoutRedirectURIs, []string{m.BackchannelLogoutURI, m.JWKSURI}) {
		if uri != "" && !sameOrigin(id, uri) && !(slices.Contains(m.RedirectURIs, uri) && loopback(uri)) {
			return Metadata{}, invalidDocument(id, "an address in it is of another origin: "+uri)
		}
	}
	return m, nil
}

// sameOrigin reports whether two addresses are of one scheme, host and port (RFC
// 6454, section 5). Whoever can put a document somewhere can so name addresses of
// that place only, besides those of the user's own machine.
func sameOrigin(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && u.Scheme == v.Scheme && strings.EqualFold(u.Host, v.Host)
}

func loopback(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "http" && oauth.Loopback(u.Hostname())
}

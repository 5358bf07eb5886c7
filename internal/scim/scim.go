// Package scim lets other systems keep a pool's users and groups: SCIM 2.0 (RFC 7643, RFC 7644).
//
// Whoever calls has one of the pool's provisioning tokens, and every change is
// recorded as its own. Passwords can be set, by the pool's policy, and never
// read. Of filters, what provisioning systems use is understood: equality, and
// and; bulk operations and sorting are not offered, as the service provider's
// configuration says.
package scim

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/poolpage"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
	"github.com/deputy-id/deputy/internal/wire"
)

// Handler answers under /userpool/{pool}/scim/v2. All fields are required.
type Handler struct {
	PublicURL string
	Pools     userpool.Pools
	Tokens    userpool.ProvisioningTokens
	Roster    *roster.Roster
	Log       *slog.Logger
}

// call is one request of a provisioning system.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	pool   userpool.Pool
	caller name.Caller
	base   string // the address that SCIM has in this pool
}

// Mount adds everything to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	const base = "/userpool/{pool}/scim/v2"
	for pattern, serve := range map[string]func(*call) error{
		"GET /ServiceProviderConfig": h.providerConfig,
		"GET /ResourceTypes":         h.resourceTypes,
		"GET /Schemas":               h.schemas,
		"GET /Users":                 h.listUsers,
		"POST /Users":                h.createUser,
		"GET /Users/{id}":            h.getUser,
		"PUT /Users/{id}":            h.replaceUser,
		"PATCH /Users/{id}":          h.patchUser,
		"DELETE /Users/{id}":         h.deleteUser,
		"GET /Groups":                h.listGroups,
		"POST /Groups":               h.createGroup,
		"GET /Groups/{id}":           h.getGroup,
		"PUT /Groups/{id}":           h.replaceGroup,
		"PATCH /Groups/{id}":         h.patchGroup,
		"DELETE /Groups/{id}":        h.deleteGroup,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+base+path, h.handler(serve))
	}
	mux.Handle(base+"/", h.handler(func(c *call) error {
		return fault.New(fault.NotFound, "endpoint_not_found", "there is no %s %s", name.Clip(c.r.Method, 20), name.Clip(c.r.URL.Path, 200))
	}))
}

// maxBody bounds a request's body: a group with as many members as can be changed at once.
const maxBody = 256 << 10

func (h *Handler) handler(serve func(*call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody+1)
		c, err := h.authenticate(w, r)
		if err == nil {
			err = serve(c)
		}
		if err != nil {
			h.fail(w, r, err)
		}
	})
}

// authenticate finds the token in the pool that the request names. A token of
// another pool, and a pool that is not there, are the same to a stranger.
func (h *Handler) authenticate(w http.ResponseWriter, r *http.Request) (*call, error) {
	unknown := fault.New(fault.Unauthenticated, "provisioning_token_unknown", "the bearer token is not one of this pool's for SCIM").WithFix("make one with: deputy scim-token create")
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return nil, unknown
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	poolName := r.PathValue("pool")
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(token, userpool.ProvisioningPrefix+"_") || name.Check("user pool", poolName) != nil {
		return nil, unknown
	}
	t, err := h.Tokens.ProvisioningToken(r.Context(), poolName, userpool.HashProvisioning(secret.FromString(token)))
	if fault.Is(err, fault.NotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	pool, err := h.Pools.Pool(r.Context(), poolName)
	return &call{w, r, pool, t.Caller(), userpool.Issuer(h.PublicURL, poolName) + "/scim/v2"}, err
}

// mediaType is that of everything here (RFC 7644, section 8.1).
const mediaType = "application/scim+json"

func (c *call) answer(status int, v any) error {
	c.w.Header().Set("Content-Type", mediaType)
	wire.Write(c.w, status, v)
	return nil
}

// resource answers with a resource of the given version.
func (c *call) resource(status int, version int64, location string, v any) error {
	c.w.Header().Set("ETag", etag(version))
	c.w.Header().Set("Location", location)
	return c.answer(status, v)
}

// decode reads the request's body. Attributes that are not known are left out, as
// SCIM wants it.
func (c *call) decode(into any) error {
	b, err := wire.ReadAll(c.r.Body, maxBody)
	if err != nil {
		return err
	}
	if err := wire.DecodeForeign(b, into); err != nil {
		return fault.Wrap(err, fault.Invalid, "scim_syntax", "the body is not JSON of the kind that belongs here")
	}
	return nil
}

// document reads a whole resource.
func (c *call) document() (document, error) {
	var in map[string]any
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return lower(in).(map[string]any), nil // a map stays one
}

// match holds If-Match against the version that is there.
func (c *call) match(version int64) error {
	if want := c.r.Header.Get("If-Match"); want != "" && want != "*" && want != etag(version) {
		return fault.New(fault.Conflict, "scim_version", "the resource is of version %s now", etag(version)).WithFix("read it again")
	}
	return nil
}

// number returns a parameter of a list, put into its bounds (RFC 7644, section 3.4.2.4).
func (c *call) number(parameter string, otherwise, least, most int) (int, error) {
	text := c.r.FormValue(parameter)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fault.New(fault.Invalid, "scim_value_invalid", "%s is not a number", parameter)
	}
	return min(max(n, least), most), nil
}

const (
	maxCount  = 200
	maxOffset = 1 << 30
)

// listing is what a list was asked for.
type listing struct {
	terms        []term
	start, count int
}

func (c *call) listing() (l listing, err error) {
	if l.start, err = c.number("startIndex", 1, 1, maxOffset); err != nil {
		return l, err
	}
	if l.count, err = c.number("count", 100, 0, maxCount); err != nil {
		return l, err
	}
	if filter := c.r.FormValue("filter"); filter != "" {
		l.terms, err = parseFilter(filter)
	}
	return l, err
}

type listJSON struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Resources    []any    `json:"Resources"`
}

func (c *call) list(l listing, total int, items []any) error {
	if items == nil {
		items = []any{}
	}
	return c.answer(http.StatusOK, listJSON{[]string{"urn:ietf:params:scim:api:messages:2.0:ListResponse"}, total, l.start, len(items), items})
}

type errorJSON struct {
	Schemas  []string `json:"schemas"`
	Status   string   `json:"status"`
	ScimType string   `json:"scimType,omitempty"`
	Detail   string   `json:"detail"`
}

// scimTypes is this edge's table from code to RFC 7644, section 3.12.
var scimTypes = map[string]string{
	"scim_filter_invalid": "invalidFilter", "scim_path_invalid": "invalidPath", "scim_syntax": "invalidSyntax", "scim_no_target": "noTarget",
	"scim_mutability": "mutability", "scim_too_many": "tooMany", "members_too_many": "tooMany", "user_exists": "uniqueness", "group_exists": "uniqueness",
}

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.As(err)
	status, kind := poolpage.Status(f.Kind), scimTypes[f.Code]
	switch {
	case f.Code == "scim_version" || f.Code == "user_changed" || f.Code == "group_changed":
		status = http.StatusPreconditionFailed
	case kind == "" && f.Kind == fault.Invalid:
		kind = "invalidValue"
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	h.Log.LogAttrs(r.Context(), level, "provisioning refused", slog.String("path", name.Clip(r.URL.Path, 200)), slog.Any("err", f))
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="scim"`)
	}
	w.Header().Set("Content-Type", mediaType)
	wire.Write(w, status, errorJSON{[]string{"urn:ietf:params:scim:api:messages:2.0:Error"}, strconv.Itoa(status), kind, f.Error()})
}

package apiclient

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/wire"
)

// ImportLine reports one row of an imported file.
type ImportLine struct {
	Line     int    `json:"line"`
	UserName string `json:"userName"`
	Outcome  string `json:"outcome"` // create, update, unchanged or error
	Code     string `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Fix      string `json:"fix,omitempty"`
}

// ImportSummary counts the rows by outcome.
type ImportSummary struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Refused   int `json:"refused"`
}

// importAnswer is one line of the answer.
type importAnswer struct {
	ImportLine
	ImportSummary
	Done bool `json:"done"`
}

// maxImportLine bounds one line of the answer to an import.
const maxImportLine = 64 << 10

// ImportUsers imports a file of the media type format; with dry nothing is
// changed. each gets the report of every row as it comes. An import takes as long
// as it takes; ctx ends it.
func (c *Client) ImportUsers(ctx context.Context, pool, format string, file io.Reader, dry bool, each func(ImportLine) error) (ImportSummary, error) {
	query := url.Values{}
	if dry {
		query.Set("dryRun", "true")
	}
	req, err := c.request(ctx, http.MethodPost, path("user-pools", pool, "imports"), query, file, "application/x-ndjson")
	if err != nil {
		return ImportSummary{}, err
	}
	req.Header.Set("Content-Type", format)
	resp, err := c.do(req)
	if err != nil {
		return ImportSummary{}, err
	}
	defer resp.Body.Close() // read to its end, or given up
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxImportLine)
	for lines.Scan() {
		var l importAnswer
		if err := wire.DecodeForeign(lines.Bytes(), &l); err != nil {
			return ImportSummary{}, err
		}
		switch {
		case l.Done:
			return l.ImportSummary, nil
		case l.Outcome == "" && l.Code != "":
			return l.ImportSummary, fault.New(fault.Invalid, l.Code, "the import broke off: %s", l.Detail).WithFix("%s", l.Fix)
		}
		if err := each(l.ImportLine); err != nil {
			return ImportSummary{}, err
		}
	}
	return ImportSummary{}, fault.Wrap(lines.Err(), fault.Unavailable, "import_broken", "the import broke off").WithFix("import the same file again: what is done already stays as it is")
}

// ProvisioningToken is what another system keeps a pool's users with, by SCIM.
type ProvisioningToken struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url"` // what that system calls
	CreatedAt time.Time `json:"createdAt"`
}

// ProvisioningTokens returns the tokens of a pool.
func (c *Client) ProvisioningTokens(ctx context.Context, pool string) ([]ProvisioningToken, error) {
	var all list[ProvisioningToken]
	err := c.call(ctx, http.MethodGet, path("user-pools", pool, "provisioning-tokens"), nil, nil, &all)
	return all.Items, err
}

// CreateProvisioningToken makes a token. It is never shown again.
func (c *Client) CreateProvisioningToken(ctx context.Context, pool, name string) (ProvisioningToken, secret.Text, error) {
	var made struct {
		ProvisioningToken
		Token secret.Text `json:"token"`
	}
	err := c.call(ctx, http.MethodPost, path("user-pools", pool, "provisioning-tokens"), nil, map[string]string{"name": name}, &made)
	return made.ProvisioningToken, made.Token, err
}

// DeleteProvisioningToken revokes a token.
func (c *Client) DeleteProvisioningToken(ctx context.Context, pool, id string) error {
	return c.call(ctx, http.MethodDelete, path("user-pools", pool, "provisioning-tokens", id), nil, nil, nil)
}

package scim

import (
	"encoding/json"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// Bounds of filters and paths.
const (
	maxFilter = 1 << 10 // bytes
	maxTerms  = 8
)

// The schemas whose URNs may stand before an attribute (RFC 7643, section 10).
const (
	userSchema       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// term is a comparison for equality. Attribute names know no case (RFC 7643,
// section 2.1), so they are kept in lower case.
type term struct{ attribute, value string }

func badFilter(text string) error {
	return fault.New(fault.Invalid, "scim_filter_invalid", "the filter %q is not understood", name.Clip(text, 120)).
		WithFix("use ATTRIBUTE eq \"VALUE\", more of them with and")
}

// parseFilter parses the part of the language of RFC 7644, section 3.4.2.2, that
// provisioning systems use: comparisons with eq, joined by and.
func parseFilter(text string) ([]term, error) {
	if len(text) > maxFilter {
		return nil, badFilter(text)
	}
	var terms []term
	for rest := strings.TrimSpace(text); ; {
		attribute, after, ok := strings.Cut(rest, " ")
		after = strings.TrimLeft(after, " ")
		operator, after, found := strings.Cut(after, " ")
		if !ok || !found || !strings.EqualFold(operator, "eq") || !attributeName(attribute) || len(terms) == maxTerms {
			return nil, badFilter(text)
		}
		value, after, err := literal(strings.TrimLeft(after, " "))
		if err != nil {
			return nil, badFilter(text)
		}
		terms = append(terms, term{plain(attribute), value})
		if after = strings.TrimLeft(after, " "); after == "" {
			return terms, nil
		}
		word, next, _ := strings.Cut(after, " ")
		if !strings.EqualFold(word, "and") {
			return nil, badFilter(text)
		}
		rest = strings.TrimLeft(next, " ")
	}
}

// literal reads a JSON string, true or false from the beginning of text.
func literal(text string) (value, rest string, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	var v any
	if err := d.Decode(&v); err != nil {
		return "", "", err
	}
	rest = text[d.InputOffset():]
	switch v := v.(type) {
	case string:
		return v, rest, nil
	case bool:
		if v {
			return "true", rest, nil
		}
		return "false", rest, nil
	}
	return "", "", badFilter(text)
}

func attributeName(s string) bool {
	if s == "" {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("$-_.:", r) {
			return false
		}
	}
	return true
}

// plain returns an attribute in lower case, without the URN of a core schema. The
// URN of the extension becomes the attribute that holds what it adds.
func plain(attribute string) string {
	attribute = strings.ToLower(attribute)
	for _, urn := range []string{userSchema, groupSchema} {
		attribute = strings.TrimPrefix(attribute, strings.ToLower(urn)+":")
	}
	return attribute
}

// target is a parsed path of a patch (RFC 7644, section 3.5.2).
type target struct {
	attribute string // in lower case
	filter    []term // nil: the attribute itself
	sub       string // in lower case; empty: all of it
}

func badPath(text string) error {
	return fault.New(fault.Invalid, "scim_path_invalid", "the path %q is not understood", name.Clip(text, 120)).
		WithFix("use ATTRIBUTE, ATTRIBUTE.SUB or ATTRIBUTE[SUB eq \"VALUE\"].SUB")
}

func parsePath(text string) (target, error) {
	if len(text) > maxFilter {
		return target{}, badPath(text)
	}
	if before, rest, ok := strings.Cut(text, "["); ok {
		end := strings.LastIndexByte(rest, ']')
		if end < 0 || !attributeName(before) || strings.Contains(plain(before), ".") {
			return target{}, badPath(text)
		}
		filter, err := parseFilter(rest[:end])
		if err != nil {
			return target{}, badPath(text)
		}
		sub := rest[end+1:]
		if sub != "" && (sub[0] != '.' || !attributeName(sub[1:])) {
			return target{}, badPath(text)
		}
		return target{plain(before), filter, strings.ToLower(strings.TrimPrefix(sub, "."))}, nil
	}
	if !attributeName(text) {
		return target{}, badPath(text)
	}
	attribute := plain(text)
	if extension := strings.ToLower(enterpriseSchema); strings.HasPrefix(attribute, extension) {
		return target{attribute: extension, sub: strings.TrimPrefix(attribute[len(extension):], ":")}, nil
	}
	attribute, sub, _ := strings.Cut(attribute, ".")
	return target{attribute: attribute, sub: sub}, nil
}

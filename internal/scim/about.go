package scim

import "net/http"

type supported struct {
	Supported  bool `json:"supported"`
	MaxResults int  `json:"maxResults,omitempty"`
}

type scheme struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

type providerConfigJSON struct {
	Schemas        []string  `json:"schemas"`
	Patch          supported `json:"patch"`
	Bulk           supported `json:"bulk"`
	Filter         supported `json:"filter"`
	ChangePassword supported `json:"changePassword"`
	Sort           supported `json:"sort"`
	ETag           supported `json:"etag"`
	Schemes        []scheme  `json:"authenticationSchemes"`
}

func (h *Handler) providerConfig(c *call) error {
	return c.answer(http.StatusOK, providerConfigJSON{
		Schemas: []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"}, Patch: supported{Supported: true}, Filter: supported{true, maxCount},
		ChangePassword: supported{Supported: true}, ETag: supported{Supported: true},
		Schemes: []scheme{{"oauthbearertoken", "Provisioning token", "Made by an operator with: deputy scim-token create"}},
	})
}

type extensionJSON struct {
	Schema   string `json:"schema"`
	Required bool   `json:"required"`
}

type resourceTypeJSON struct {
	Schemas    []string        `json:"schemas"`
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Endpoint   string          `json:"endpoint"`
	Schema     string          `json:"schema"`
	Extensions []extensionJSON `json:"schemaExtensions,omitempty"`
}

func (h *Handler) resourceTypes(c *call) error {
	schemas := []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}
	return c.list(listing{start: 1}, 2, []any{
		resourceTypeJSON{schemas, "User", "User", "/Users", userSchema, []extensionJSON{{enterpriseSchema, false}}},
		resourceTypeJSON{schemas, "Group", "Group", "/Groups", groupSchema, nil},
	})
}

// attribute describes one (RFC 7643, section 7).
type attribute struct {
	Name          string      `json:"name"`
	Type          string      `json:"type"`
	MultiValued   bool        `json:"multiValued"`
	Required      bool        `json:"required"`
	CaseExact     bool        `json:"caseExact"`
	Mutability    string      `json:"mutability"`
	Returned      string      `json:"returned"`
	Uniqueness    string      `json:"uniqueness"`
	SubAttributes []attribute `json:"subAttributes,omitempty"`
}

type schemaJSON struct {
	Schemas    []string    `json:"schemas"`
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Attributes []attribute `json:"attributes"`
}

func text(attributeName string) attribute {
	return attribute{Name: attributeName, Type: "string", Mutability: "readWrite", Returned: "default", Uniqueness: "none"}
}

func complexOf(attributeName string, many bool, mutability string, subs ...string) attribute {
	a := attribute{Name: attributeName, Type: "complex", MultiValued: many, Mutability: mutability, Returned: "default", Uniqueness: "none"}
	for _, s := range subs {
		a.SubAttributes = append(a.SubAttributes, text(s))
	}
	return a
}

func (h *Handler) schemas(c *call) error {
	unique, active, password := text("userName"), text("active"), text("password")
	unique.Required, unique.Uniqueness = true, "server"
	active.Type = "boolean"
	password.Mutability, password.Returned = "writeOnly", "never"
	group := text("displayName")
	group.Required, group.CaseExact, group.Uniqueness = true, true, "server"
	work := schemaJSON{ID: enterpriseSchema, Name: "EnterpriseUser"}
	for _, kept := range []string{"employeeNumber", "costCenter", "organization", "division", "department"} {
		work.Attributes = append(work.Attributes, text(kept))
	}
	list := []schemaJSON{
		{ID: userSchema, Name: "User", Attributes: []attribute{
			unique, complexOf("name", false, "readWrite", "formatted", "givenName", "familyName"), text("displayName"), text("externalId"), active, password,
			complexOf("emails", true, "readWrite", "value", "type"), complexOf("phoneNumbers", true, "readWrite", "value", "type"), complexOf("groups", true, "readOnly", "value", "display"),
		}},
		{ID: groupSchema, Name: "Group", Attributes: []attribute{group, text("externalId"), complexOf("members", true, "readWrite", "value")}},
		work,
	}
	var items []any
	for _, s := range list {
		s.Schemas = []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}
		items = append(items, s)
	}
	return c.list(listing{start: 1}, len(items), items)
}

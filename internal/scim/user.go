package scim

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/userpool"
)

type meta struct {
	ResourceType string    `json:"resourceType"`
	Created      time.Time `json:"created"`
	Location     string    `json:"location"`
	Version      string    `json:"version"`
}

// etag is a weak entity tag made of a version (RFC 7644, section 3.14).
func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

type valueJSON struct {
	Value   string `json:"value"`
	Type    string `json:"type,omitempty"`
	Primary bool   `json:"primary,omitempty"`
	Display string `json:"display,omitempty"`
}

type nameJSON struct {
	Formatted  string `json:"formatted,omitempty"`
	GivenName  string `json:"givenName,omitempty"`
	FamilyName string `json:"familyName,omitempty"`
}

// userJSON is a user on the wire. A password is never in it.
type userJSON struct {
	Schemas      []string          `json:"schemas"`
	ID           string            `json:"id"`
	ExternalID   string            `json:"externalId,omitempty"`
	UserName     string            `json:"userName"`
	Name         *nameJSON         `json:"name,omitempty"`
	DisplayName  string            `json:"displayName,omitempty"`
	Emails       []valueJSON       `json:"emails,omitempty"`
	PhoneNumbers []valueJSON       `json:"phoneNumbers,omitempty"`
	Active       bool              `json:"active"`
	Groups       []valueJSON       `json:"groups,omitempty"`
	Enterprise   map[string]string `json:"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User,omitempty"`
	Meta         meta              `json:"meta"`
}

// enterprise are the attributes of the extension that are kept, as attributes of
// the same name, by their names in lower case.
var enterprise = map[string]string{"department": "department", "organization": "organization", "division": "division", "employeenumber": "employeeNumber", "costcenter": "costCenter"}

// userShown returns u on the wire; groups are those that he is in.
func userShown(base string, u userpool.User, groups []userpool.Group) userJSON {
	j := userJSON{
		Schemas: []string{userSchema}, ID: u.ID, ExternalID: u.ExternalID, UserName: u.UserName, DisplayName: u.DisplayName, Active: !u.Disabled,
		Meta: meta{"User", u.CreatedAt, base + "/Users/" + u.ID, etag(u.Version)},
	}
	if n := (nameJSON{u.DisplayName, u.Attributes["givenName"], u.Attributes["familyName"]}); n != (nameJSON{}) {
		j.Name = &n
	}
	if u.Email != "" {
		j.Emails = []valueJSON{{Value: u.Email, Type: "work", Primary: true}}
	}
	if u.Phone != "" {
		j.PhoneNumbers = []valueJSON{{Value: u.Phone, Type: "work", Primary: true}}
	}
	for _, g := range groups {
		j.Groups = append(j.Groups, valueJSON{Value: g.ID, Display: g.Name})
	}
	for _, kept := range enterprise {
		if v := u.Attributes[kept]; v != "" {
			if j.Enterprise == nil {
				j.Enterprise, j.Schemas = map[string]string{}, append(j.Schemas, enterpriseSchema)
			}
			j.Enterprise[kept] = v
		}
	}
	return j
}

// documentOf returns u as the document that patches are applied to.
func documentOf(u userpool.User) (document, error) {
	b, err := json.Marshal(userShown("", u, nil))
	if err != nil {
		return nil, err
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	return lower(v).(map[string]any), nil // a map stays one
}

// user returns u with all that d says, and the password if there is one. What d
// does not say is empty (RFC 7644, section 3.5.1), but a user stays as active as
// he is, and attributes that SCIM does not know stay.
func (d document) user(u userpool.User) (userpool.User, secret.Text, error) {
	r := &values{in: d}
	names, _ := d["name"].(map[string]any)
	given := &values{in: names}
	work, _ := d[strings.ToLower(enterpriseSchema)].(map[string]any)
	extension := &values{in: work}
	u.UserName, u.ExternalID, u.DisplayName = r.text("username"), r.text("externalid"), r.text("displayname")
	if u.DisplayName == "" {
		u.DisplayName = given.text("formatted")
	}
	if email := r.first("emails"); email != u.Email {
		u.Email, u.EmailVerified = email, false
	}
	u.Phone = r.first("phonenumbers")
	u.Disabled = !r.truth("active", !u.Disabled)
	attributes := maps.Clone(u.Attributes)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["givenName"], attributes["familyName"] = given.text("givenname"), given.text("familyname")
	for theirs, ours := range enterprise {
		attributes[ours] = extension.text(theirs)
	}
	maps.DeleteFunc(attributes, func(_, v string) bool { return v == "" })
	u.Attributes = attributes
	password := secret.FromString(r.text("password"))
	for _, v := range []*values{r, given, extension} {
		if v.err != nil {
			return userpool.User{}, secret.Text{}, v.err
		}
	}
	return u, password, u.Check()
}

// values reads attributes and remembers the first that is of the wrong type.
type values struct {
	in  map[string]any
	err error
}

func (v *values) wrong(attribute string) {
	if v.err == nil {
		v.err = fault.New(fault.Invalid, "scim_value_invalid", "%s is not of its type", attribute)
	}
}

func (v *values) text(attribute string) string {
	switch s := v.in[attribute].(type) {
	case nil:
	case string:
		return s
	default:
		v.wrong(attribute)
	}
	return ""
}

// truth also takes the strings that Azure AD sends.
func (v *values) truth(attribute string, otherwise bool) bool {
	switch b := v.in[attribute].(type) {
	case nil:
		return otherwise
	case bool:
		return b
	case string:
		if parsed, err := strconv.ParseBool(strings.ToLower(b)); err == nil {
			return parsed
		}
	}
	v.wrong(attribute)
	return otherwise
}

// first returns the primary value of many, or else the first.
func (v *values) first(attribute string) string {
	list, ok := v.in[attribute].([]any)
	if !ok {
		if v.in[attribute] != nil {
			v.wrong(attribute)
		}
		return ""
	}
	chosen := ""
	for _, item := range list {
		inner, _ := item.(map[string]any)
		one := &values{in: inner}
		value, primary := one.text("value"), one.truth("primary", false)
		if inner == nil || one.err != nil {
			v.wrong(attribute)
		}
		if primary {
			return value
		}
		if chosen == "" {
			chosen = value
		}
	}
	return chosen
}

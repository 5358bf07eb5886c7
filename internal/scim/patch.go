package scim

import (
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
)

// document is a resource as JSON, its attributes' names in lower case.
type document map[string]any

// lower returns v with the names of all attributes in lower case.
func lower(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range v {
			out[strings.ToLower(k)] = lower(inner)
		}
		return out
	case []any:
		for i := range v {
			v[i] = lower(v[i])
		}
	}
	return v
}

// operation is one of a patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

type patchRequest struct {
	Schemas    []string    `json:"schemas"`
	Operations []operation `json:"Operations"`
}

// maxOperations bounds a patch.
const maxOperations = 100

// each calls do with the operations of a patch, one for each path: an operation
// without a path is one for each attribute of its value (RFC 7644, section 3.5.2.1).
func (p patchRequest) each(do func(op string, t target, value any) error) error {
	if len(p.Operations) == 0 || len(p.Operations) > maxOperations {
		return fault.New(fault.Invalid, "scim_syntax", "the patch has %d operations", len(p.Operations)).WithFix("send 1 to %d", maxOperations)
	}
	for _, o := range p.Operations {
		op := strings.ToLower(o.Op) // Azure AD writes "Replace"
		if op != "add" && op != "remove" && op != "replace" {
			return fault.New(fault.Invalid, "scim_syntax", "the operation %q is not known", name.Clip(o.Op, 40)).WithFix("use add, remove or replace")
		}
		value := lower(o.Value)
		if o.Path != "" {
			t, err := parsePath(o.Path)
			if err != nil {
				return err
			}
			if err := do(op, t, value); err != nil {
				return err
			}
			continue
		}
		attributes, ok := value.(map[string]any)
		if !ok || op == "remove" {
			return fault.New(fault.Invalid, "scim_no_target", "the operation %s says neither a path nor attributes", op)
		}
		for path, value := range attributes {
			t, err := parsePath(path)
			if err != nil {
				return err
			}
			if err := do(op, t, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// multiple are the attributes that have many values.
var multiple = map[string]bool{"emails": true, "phonenumbers": true}

// apply does one operation to d.
func (d document) apply(op string, t target, value any) error {
	switch {
	case t.attribute == "id" || t.attribute == "groups" || t.attribute == "meta":
		return fault.New(fault.Invalid, "scim_mutability", "%s cannot be changed here", t.attribute)
	case t.filter != nil:
		return d.applyTo(op, t, value)
	case t.sub != "":
		inner, ok := d[t.attribute].(map[string]any)
		if !ok {
			if d[t.attribute] != nil {
				return badPath(t.attribute + "." + t.sub)
			}
			inner = map[string]any{}
			d[t.attribute] = inner
		}
		put(inner, t.sub, op, value)
	case multiple[t.attribute] && op == "add":
		had, _ := d[t.attribute].([]any)
		more, ok := value.([]any)
		if !ok {
			more = []any{value}
		}
		if len(had)+len(more) > maxValues {
			return tooManyValues()
		}
		d[t.attribute] = append(had, more...)
	default:
		put(d, t.attribute, op, value)
	}
	return nil
}

// maxValues bounds an attribute with many values.
const maxValues = 32

func tooManyValues() error {
	return fault.New(fault.Invalid, "scim_too_many", "an attribute has too many values").WithFix("give at most %d", maxValues)
}

func put(in map[string]any, attribute, op string, value any) {
	if op == "remove" {
		delete(in, attribute)
		return
	}
	in[attribute] = value
}

// applyTo does an operation to the values that the filter selects. If there is
// none, one is made, which is what Azure AD expects of emails[type eq "work"].value.
func (d document) applyTo(op string, t target, value any) error {
	list, _ := d[t.attribute].([]any)
	var kept []any
	found := false
	for _, item := range list {
		inner, ok := item.(map[string]any)
		if !ok || !matches(inner, t.filter) {
			kept = append(kept, item)
			continue
		}
		found = true
		switch {
		case t.sub != "":
			put(inner, t.sub, op, value)
			kept = append(kept, inner)
		case op != "remove":
			kept = append(kept, value)
		}
	}
	if !found && op != "remove" {
		made := map[string]any{}
		for _, f := range t.filter {
			made[f.attribute] = f.value
		}
		if t.sub != "" {
			made[t.sub] = value
		} else if given, ok := value.(map[string]any); ok {
			made = given
		}
		kept = append(kept, made)
	}
	if len(kept) > maxValues {
		return tooManyValues()
	}
	d[t.attribute] = kept
	return nil
}

func matches(item map[string]any, filter []term) bool {
	for _, f := range filter {
		switch v := item[f.attribute].(type) {
		case string:
			if !strings.EqualFold(v, f.value) {
				return false
			}
		case bool:
			if v != (f.value == "true") {
				return false
			}
		default:
			return false
		}
	}
	return true
}

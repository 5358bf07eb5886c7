package deputy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// schema is the part of JSON Schema (2020-12) that describes a tool's input to
// a language model.
type schema struct {
	Type        string             `json:"type"`
	Description string             `json:"description,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Closed      *bool              `json:"additionalProperties,omitempty"` // always false, on objects
}

// schemaOf describes t, which must be a struct of strings, numbers, booleans,
// structs and slices of these. A field's tag `jsonschema` is its description; a
// field is required unless its JSON tag says omitempty or omitzero.
func schemaOf(t reflect.Type) (*schema, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the input is %s, not a struct", t)
	}
	s := &schema{Type: "object", Properties: map[string]*schema{}, Closed: new(bool)}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if f.Anonymous {
			return nil, fmt.Errorf("field %s is embedded; spell it out", f.Name)
		}
		if name == "" {
			name = f.Name
		}
		p, err := schemaOfField(f.Type)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		p.Description = f.Tag.Get("jsonschema")
		s.Properties[name] = p
		opts := strings.Split(options, ",")
		if !slices.Contains(opts, "omitempty") && !slices.Contains(opts, "omitzero") {
			s.Required = append(s.Required, name)
		}
	}
	return s, nil
}

func schemaOfField(t reflect.Type) (*schema, error) {
	switch t.Kind() {
	case reflect.String:
		return &schema{Type: "string"}, nil
	case reflect.Bool:
		return &schema{Type: "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &schema{Type: "integer"}, nil
	case reflect.Float32, reflect.Float64:
		return &schema{Type: "number"}, nil
	case reflect.Slice:
		items, err := schemaOfField(t.Elem())
		return &schema{Type: "array", Items: items}, err
	case reflect.Struct:
		return schemaOf(t)
	}
	return nil, fmt.Errorf("%s has no place in a tool's input", t)
}

// decodeInput decodes a tool's arguments strictly. They often come from a
// language model, so the error says what is wrong in words that help it.
func decodeInput(raw json.RawMessage, s *schema, into any) error {
	invalid := func(format string, args ...any) error {
		return &Error{Code: "tool_input_invalid", Message: fmt.Sprintf(format, args...), Fix: "follow the tool's parameters"}
	}
	if len(raw) > maxToolInput {
		return invalid("the arguments are larger than %d bytes", maxToolInput)
	}
	var given map[string]json.RawMessage
	if json.Unmarshal(raw, &given) != nil || given == nil {
		return invalid("the arguments are not a JSON object")
	}
	for _, name := range s.Required {
		if v, ok := given[name]; !ok || string(v) == "null" {
			return invalid("the argument %q is missing", name)
		}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return invalid("the argument %q must not be a %s", wrong.Field, wrong.Value)
		}
		return invalid("an argument is unknown or of the wrong type")
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("there is something after the arguments")
	}
	return nil
}

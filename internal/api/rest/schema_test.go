package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// described is /openapi.json, as far as it takes to check traffic against it.
type described struct {
	paths   map[*regexp.Regexp]map[string]operation
	schemas map[string]schema
}

type operation struct {
	RequestBody struct{ Content map[string]media }
	Responses   map[string]struct{ Content map[string]media }
}

type media struct{ Schema schema }

type schema map[string]any

func (w *world) describe() *described {
	w.t.Helper()
	var d struct {
		Paths      map[string]map[string]operation
		Components struct{ Schemas map[string]schema }
	}
	must(w.t, json.Unmarshal([]byte(w.send("GET", "/openapi.json", "", nil).body), &d))
	found := &described{map[*regexp.Regexp]map[string]operation{}, d.Components.Schemas}
	for path, item := range d.Paths {
		found.paths[regexp.MustCompile("^"+parameter.ReplaceAllString(path, "[^/]+")+"$")] = item
	}
	return found
}

// check complains unless the request, if it was taken, and its answer are as the
// document says.
func (d *described) check(t *testing.T, method, target, body string, a answer) {
	t.Helper()
	path, _, _ := strings.Cut(target, "?")
	for shape, item := range d.paths {
		o, ok := item[strings.ToLower(method)]
		if !ok || !shape.MatchString(path) {
			continue
		}
		response, ok := o.Responses[strconv.Itoa(a.status)]
		if !ok {
			response = o.Responses["default"]
		}
		described, has := response.Content[a.header.Get("Content-Type")]
		if has != (a.body != "") {
			t.Errorf("%s %s: the answer %d is %q, which is not described", method, path, a.status, a.header.Get("Content-Type"))
		}
		d.validate(t, method+" "+path+" answer", described.Schema, a.body)
		if a.status < http.StatusMultipleChoices && body != "" {
			d.validate(t, method+" "+path+" request", o.RequestBody.Content["application/json"].Schema, body)
		}
		return
	}
	t.Errorf("%s %s is not described", method, path)
}

func (d *described) validate(t *testing.T, where string, s schema, text string) {
	t.Helper()
	if text == "" {
		return
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	for _, wrong := range d.wrong(where, s, v) {
		t.Error(wrong)
	}
}

// wrong lists where v is not what s says: of JSON Schema, what the document uses.
func (d *described) wrong(at string, s schema, v any) []string {
	if ref, ok := s["$ref"].(string); ok {
		return d.wrong(at, d.schemas[strings.TrimPrefix(ref, "#/components/schemas/")], v)
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		return []string{fmt.Sprintf("%s is %v, described is one of %v", at, v, enum)}
	}
	types, ok := s["type"].([]any)
	if !ok {
		types = []any{s["type"]}
	}
	if got := typeOf(v); !slices.Contains(types, any(got)) && !(got == "integer" && slices.Contains(types, any("number"))) {
		return []string{fmt.Sprintf("%s is of type %s, described is %v", at, got, types)}
	}
	var all []string
	switch v := v.(type) {
	case []any:
		items, _ := s["items"].(map[string]any)
		for i, item := range v {
			all = append(all, d.wrong(fmt.Sprintf("%s[%d]", at, i), items, item)...)
		}
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if property, ok := properties[key].(map[string]any); ok {
				all = append(all, d.wrong(at+"."+key, property, v[key])...)
			} else if s["additionalProperties"] == false {
				all = append(all, at+"."+key+" is not described")
			}
		}
		required, _ := s["required"].([]any)
		for _, key := range required {
			if _, ok := v[key.(string)]; !ok {
				all = append(all, fmt.Sprintf("%s.%s is missing", at, key))
			}
		}
	}
	return all
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	default:
		return "object"
	}
}

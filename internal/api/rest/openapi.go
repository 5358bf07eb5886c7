package rest

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/secret"
)

var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

// tags say what the endpoints of each group are about.
var tags = []*huma.Tag{
	{Name: "identity", Description: "Who the caller is."},
	{Name: "user pools", Description: "OpenID providers with their users and clients. For operators."},
	{Name: "users", Description: "The people of a user pool, one by one and by import. For operators."},
	{Name: "groups", Description: "Groups of users; their names are claims. For operators."},
	{Name: "provisioning", Description: "What other systems keep a pool's users and groups with, by SCIM 2.0. For operators."},
	{Name: "workloads", Description: "Workload pools, the namespaces of agents, and the agents' identities. For operators."},
	{Name: "attestors", Description: "Clusters and SPIFFE trust domains that vouch for workloads which Deputy did not launch. For operators."},
	{Name: "credential providers", Description: "How to get credentials from third parties, and the third parties that Deputy knows. For operators."},
	{Name: "grants", Description: "What users gave; never the tokens themselves. For operators."},
	{Name: "agents", Description: "Agents that the runtime runs. For operators."},
	{Name: "operators", Description: "The tokens of operators: their roles, and the pools that they are limited to. For owners; auditors may read."},
	{Name: "audit", Description: "Who did what, for whom, when and with which outcome, in a hash chain. For operators."},
	{Name: "credentials", Description: "What agents ask for: tokens of their own, credentials of their users, and the authorizations that give them."},
}

// document describes the endpoints as OpenAPI 3.1. The schemas come from the
// very types that are decoded and encoded.
func (a *API) document(endpoints []endpoint) []byte {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	text := reflect.TypeFor[string]()
	registry.RegisterTypeAlias(reflect.TypeFor[secret.Text](), text)
	registry.RegisterTypeAlias(reflect.TypeFor[name.Scopes](), reflect.TypeFor[[]string]())
	registry.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[map[string]any]())
	registry.RegisterTypeAlias(reflect.TypeFor[time.Duration](), text)
	api := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Deputy", Version: a.Version, Description: "Deputy's native API, version 1. Errors are application/problem+json (RFC 9457) with a stable code.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers: []*huma.Server{{URL: a.PublicURL + base}},
		Tags:    tags,
		Paths:   map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
			string(operators): {Type: "http", Scheme: "bearer", Description: "An operator's token, of the role x-role or more"},
			string(agents):    {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A workload access token"},
			string(attested):  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A proof of the workload's identity: the token from the file DEPUTY_WORKLOAD_TOKEN_FILE, a service account's token of a cluster or a JWT-SVID that an attestor vouches for. Or, in its place, a signature with an access key: HMAC-SHA256 (Volcengine's signature version 4) or AWS4-HMAC-SHA256, for the service deputy"},
		}},
	}
	failure := &huma.Response{Description: "An error", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: registry.Schema(reflect.TypeFor[problem](), true, "Problem")}}}
	for _, e := range endpoints {
		item := api.Paths[e.path]
		if item == nil {
			item = &huma.PathItem{}
			api.Paths[e.path] = item
		}
		set(item, e.method, operation(registry, e, failure))
	}
	b, err := json.Marshal(api)
	if err != nil {
		// The document is made of our own types alone: this is a bug that the first look at it shows.
		panic("rest: the OpenAPI document: " + err.Error())
	}
	return b
}

func operation(registry huma.Registry, e endpoint, failure *huma.Response) *huma.Operation {
	o := &huma.Operation{OperationID: e.id, Summary: e.summary, Tags: []string{e.tag}, Responses: map[string]*huma.Response{"default": failure}}
	schemes := []auth{e.auth}
	if role, ok := leastRoles[e.auth]; ok {
		schemes = []auth{operators}
		o.Extensions = map[string]any{"x-role": role}
	}
	if e.auth == known {
		schemes = []auth{operators, agents}
	}
	for _, s := range schemes {
		o.Security = append(o.Security, map[string][]string{string(s): {}})
	}
	for _, m := range pathParameter.FindAllStringSubmatch(e.path, -1) {
		o.Parameters = append(o.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	for _, p := range e.query {
		o.Parameters = append(o.Parameters, &huma.Param{Name: p.name, In: "query", Description: p.help, Schema: &huma.Schema{Type: p.kind}})
	}
	if _, file := e.body.(upload); file {
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
		for _, media := range []string{roster.CSV, roster.JSONLines} {
			o.RequestBody.Content[media] = &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
		}
	} else if e.body != nil {
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeOf(e.body), true, e.id+"Request")}}}
	}
	success := &huma.Response{Description: http.StatusText(e.status)}
	switch {
	case e.answer == any(importLine{}):
		success.Content = map[string]*huma.MediaType{roster.JSONLines: {Schema: registry.Schema(reflect.TypeOf(e.answer), true, e.id+"Answer")}}
	case e.answer != nil:
		success.Content = map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeOf(e.answer), true, e.id+"Answer")}}
	case e.status == http.StatusOK:
		success.Content = map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}
	}
	o.Responses[strconv.Itoa(e.status)] = success
	return o
}

func set(item *huma.PathItem, method string, o *huma.Operation) {
	switch method {
	case http.MethodGet:
		item.Get = o
	case http.MethodPost:
		item.Post = o
	case http.MethodPut:
		item.Put = o
	case http.MethodPatch:
		item.Patch = o
	case http.MethodDelete:
		item.Delete = o
	}
}

var typeParameter = regexp.MustCompile(`\[.*[./]([A-Za-z]+)\]`)

// schemaName names the schema of a type: "UserList" for list[userJSON].
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[name.User]() {
		return "Person" // "User" is one of a user pool
	}
	n := t.Name()
	if n == "" {
		n = hint
	}
	if m := typeParameter.FindStringSubmatch(n); m != nil {
		n = m[1] + "List"
	}
	return upper(strings.ReplaceAll(n, "JSON", ""))
}

func upper(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}

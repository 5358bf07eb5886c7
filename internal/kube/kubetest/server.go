// Package kubetest is a small Kubernetes API server in memory, for tests: strict about what it is sent, and with a record of what it was asked.
//
// It decodes what is applied into Kubernetes's own types and refuses what they do
// not have. It merges as server-side apply does for one manager and maps: what the
// manager said earlier and does not say any more goes, what others said stays. What
// it does not do, a real one is asked for: see docs/kubernetes.md.
package kubetest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/secret"
)

// What callers must show, and what [Server.Do] does.
const token, adminToken = "kubetest-token", "kubetest-admin"

// Server is the API server.
type Server struct {
	t    testing.TB
	http *httptest.Server

	mu      sync.Mutex
	objects map[string]map[string]any // by path
	applied map[string]map[string]any // what was applied last
	logs    map[string]string         // of pods, by name; "previous/" before those of the run before
	version int
	asked   map[string]bool // "verb group/resource"
	refuse  map[string]int  // status by "verb group/resource"
	running bool
	keys    []jwt.Key // of service accounts' tokens; the last one signs

	// Now is when tokens are judged; NoAudiences has reviews say nothing about audiences, as authenticators do that
	// know none. Both are set before the first request.
	Now         func() time.Time
	NoAudiences bool
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{t: t, objects: map[string]map[string]any{}, applied: map[string]map[string]any{}, logs: map[string]string{}, asked: map[string]bool{}, refuse: map[string]int{}, Now: time.Now}
	s.Rotate(0)
	s.http = httptest.NewTLSServer(s)
	t.Cleanup(s.http.Close)
	return s
}

// Authority is the certificate authority of the server, in PEM.
func (s *Server) Authority() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Config is how the server is reached.
func (s *Server) Config() kube.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.http.Certificate())
	return kube.Config{Server: s.http.URL, Roots: roots, Token: secret.FromString(token)}
}

// Kubeconfig is the same as a file.
func (s *Server) Kubeconfig() []byte {
	authority := base64.StdEncoding.EncodeToString(s.Authority())
	return fmt.Appendf(nil, "current-context: test\ncontexts: [{name: test, context: {cluster: test, user: test, namespace: home}}]\n"+
		"clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]\nusers: [{name: test, user: {token: %s}}]\n", s.http.URL, authority, token)
}

// Asked returns what callers did, as rules of a role name it: "patch apps/deployments".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.asked))
}

// Refuse answers a verb on a kind, as [Server.Asked] names it, with a status from
// now on; 0 ends that.
func (s *Server) Refuse(what string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[what] = status
}

// SetLog sets what a pod wrote, and what its run before did.
func (s *Server) SetLog(pod, previous, present string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[pod], s.logs["previous/"+pod] = present, previous
}

// RunPods makes all Deployments ready at once from now on, as if there were nodes.
func (s *Server) RunPods() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
}

// Do sends a request as somebody who may do everything: a kubelet, a controller, an
// administrator.
func (s *Server) Do(method, path, contentType, body string) error {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", contentType)
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	if rec.Code/100 != 2 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, rec.Code, rec.Body)
	}
	return nil
}

// kind returns an empty object of the kind that a path's last part names, or nil.
func kind(plural string) any {
	switch plural {
	case "deployments":
		return &appsv1.Deployment{}
	case "services":
		return &corev1.Service{}
	case "serviceaccounts":
		return &corev1.ServiceAccount{}
	case "networkpolicies":
		return &networkingv1.NetworkPolicy{}
	case "pods":
		return &corev1.Pod{}
	}
	return nil
}

// target is what a request is about.
type target struct {
	group, plural, name, sub string
	list, object             string // paths
}

// parse reads /api/v1/namespaces/{ns}/{plural}[/{name}[/{sub}]] and the same
// below /apis/{group}/{version}.
func parse(path string) (target, bool) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	var at target
	switch {
	case len(parts) > 1 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 2 && parts[0] == "apis":
		at.group, parts = parts[1], parts[3:]
	default:
		return at, false
	}
	if len(parts) < 3 || len(parts) > 5 || parts[0] != "namespaces" || kind(parts[2]) == nil {
		return at, false
	}
	at.plural = parts[2]
	at.list = strings.Join([]string{at.group, parts[1], at.plural}, "/")
	if len(parts) > 3 {
		at.name, at.object = parts[3], at.list+"/"+parts[3]
	}
	if len(parts) > 4 {
		at.sub = "/" + parts[4]
	}
	return at, true
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if shown != token && shown != adminToken {
		s.status(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.status(w, http.StatusBadRequest, "%v", err)
		return
	}
	if s.tokens(w, r, body) {
		return
	}
	at, ok := parse(r.URL.Path)
	if !ok {
		s.status(w, http.StatusNotFound, "there is no %s", r.URL.Path)
		return
	}
	verb := map[string]string{http.MethodGet: "get", http.MethodPatch: "patch", http.MethodPost: "create", http.MethodDelete: "delete"}[r.Method]
	if verb == "get" && at.name == "" {
		verb = "list"
	}
	what := verb + " " + at.group + "/" + at.plural + at.sub
	if shown == token {
		s.asked[what] = true
	}
	if code := s.refuse[what]; code != 0 {
		s.status(w, code, "the test refuses to %s", what)
		return
	}
	switch {
	case verb == "get" && at.sub == "/log":
		s.log(w, r, at)
	case verb == "get":
		s.get(w, at)
	case verb == "list":
		s.list(w, r, at)
	case verb == "patch" && r.Header.Get("Content-Type") == "application/merge-patch+json":
		s.patch(w, at, body)
	case verb == "patch":
		s.apply(w, r, at, body)
	case verb == "create":
		s.create(w, at, body)
	case verb == "delete":
		s.delete(w, at, body)
	default:
		s.status(w, http.StatusMethodNotAllowed, "%s", r.Method)
	}
}

// status answers as the API server does when it refuses.
func (s *Server) status(w http.ResponseWriter, code int, format string, args ...any) {
	s.answer(w, code, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": fmt.Sprintf(format, args...)})
}

func (s *Server) answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Error(err)
	}
}

func (s *Server) get(w http.ResponseWriter, at target) {
	o, ok := s.objects[at.object]
	if !ok {
		s.status(w, http.StatusNotFound, "%s %q not found", at.plural, at.name)
		return
	}
	s.answer(w, http.StatusOK, o)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, at target) {
	var found []any
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(path, at.list+"/") && matches(s.objects[path], r.URL.Query().Get("labelSelector")) {
			found = append(found, s.objects[path])
		}
	}
	// Pages of two, so that callers must turn them.
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	meta := map[string]any{"resourceVersion": strconv.Itoa(s.version)}
	to := min(from+2, len(found))
	if to < len(found) {
		meta["continue"] = strconv.Itoa(to)
	}
	s.answer(w, http.StatusOK, map[string]any{"metadata": meta, "items": append([]any{}, found[min(from, to):to]...)})
}

func matches(o map[string]any, selector string) bool {
	labels, _ := o["metadata"].(map[string]any)["labels"].(map[string]any)
	for term := range strings.SplitSeq(selector, ",") {
		if key, value, ok := strings.Cut(term, "="); ok && labels[key] != value {
			return false
		}
	}
	return true
}

// strict decodes a manifest into Kubernetes's own type, and returns it as what it
// was sent as.
func strict(at target, body []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(kind(at.plural)); err != nil {
		return nil, err
	}
	var o map[string]any
	return o, json.Unmarshal(body, &o)
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request, at target, body []byte) {
	q := r.URL.Query()
	if r.Header.Get("Content-Type") != "application/apply-patch+yaml" || q.Get("fieldManager") == "" || q.Get("fieldValidation") != "Strict" {
		s.status(w, http.StatusUnsupportedMediaType, "this is no strict apply patch")
		return
	}
	sent, err := strict(at, body)
	if err != nil {
		s.status(w, http.StatusBadRequest, "strict decoding error: %v", err)
		return
	}
	there, exists := s.objects[at.object]
	if uid, said := sent["metadata"].(map[string]any)["uid"]; said && (!exists || uid != there["metadata"].(map[string]any)["uid"]) {
		s.status(w, http.StatusConflict, "uid mismatch: the provided object specified uid %v", uid)
		return
	}
	if !exists {
		there = map[string]any{"metadata": map[string]any{"uid": fmt.Sprintf("uid-%d", s.version+1), "creationTimestamp": "2026-01-01T00:00:00Z"}}
		if at.plural == "deployments" {
			there["spec"] = map[string]any{"replicas": 1.0}
		}
	}
	next := merge(remove(there, s.applied[at.object], sent), sent).(map[string]any)
	if exists && reflect.DeepEqual(next, there) {
		s.answer(w, http.StatusOK, there)
		return
	}
	meta := next["metadata"].(map[string]any)
	if !exists || !reflect.DeepEqual(next["spec"], there["spec"]) {
		generation, _ := meta["generation"].(float64)
		meta["generation"] = generation + 1
	}
	s.version++
	meta["resourceVersion"] = strconv.Itoa(s.version)
	if s.running && at.plural == "deployments" {
		n := next["spec"].(map[string]any)["replicas"]
		next["status"] = map[string]any{"observedGeneration": meta["generation"], "replicas": n, "updatedReplicas": n, "availableReplicas": n}
	}
	s.objects[at.object], s.applied[at.object] = next, sent
	s.answer(w, http.StatusOK, next)
}

// remove returns there without what was said before and is not now.
func remove(there, before, now map[string]any) map[string]any {
	left := maps.Clone(there)
	for key, said := range before {
		inner, ok := said.(map[string]any)
		still, stays := now[key]
		switch {
		case !stays:
			delete(left, key)
		case ok:
			present, _ := left[key].(map[string]any)
			wanted, _ := still.(map[string]any)
			left[key] = remove(present, inner, wanted)
		}
	}
	return left
}

// merge returns there with what is said now.
func merge(there, now any) any {
	into, ok := there.(map[string]any)
	said, also := now.(map[string]any)
	if !ok || !also {
		return now
	}
	into = maps.Clone(into)
	for key, value := range said {
		into[key] = merge(into[key], value)
	}
	return into
}

// patch is a merge patch, of an object or of its status alike.
func (s *Server) patch(w http.ResponseWriter, at target, body []byte) {
	var patch map[string]any
	o, ok := s.objects[at.object]
	if err := json.Unmarshal(body, &patch); err != nil || !ok {
		s.status(w, http.StatusNotFound, "%s %q not found: %v", at.plural, at.name, err)
		return
	}
	s.version++
	spec := o["spec"]
	o = merge(o, patch).(map[string]any)
	if generation, ok := o["metadata"].(map[string]any)["generation"].(float64); ok && !reflect.DeepEqual(spec, o["spec"]) {
		o["metadata"].(map[string]any)["generation"] = generation + 1
	}
	o["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(s.version)
	s.objects[at.object] = o
	s.answer(w, http.StatusOK, o)
}

func (s *Server) create(w http.ResponseWriter, at target, body []byte) {
	o, err := strict(at, body)
	if err != nil {
		s.status(w, http.StatusBadRequest, "%v", err)
		return
	}
	meta := o["metadata"].(map[string]any)
	path := at.list + "/" + meta["name"].(string)
	if _, exists := s.objects[path]; exists {
		s.status(w, http.StatusConflict, "%s exists already", path)
		return
	}
	s.version++
	meta["uid"], meta["resourceVersion"] = fmt.Sprintf("uid-%d", s.version), strconv.Itoa(s.version)
	meta["creationTimestamp"] = fmt.Sprintf("2026-01-01T00:%02d:%02dZ", s.version/60%60, s.version%60)
	s.objects[path] = o
	s.answer(w, http.StatusCreated, o)
}

func (s *Server) delete(w http.ResponseWriter, at target, body []byte) {
	var options struct {
		Preconditions struct{ UID string }
	}
	o, ok := s.objects[at.object]
	if err := json.Unmarshal(body, &options); err != nil || !ok {
		s.status(w, http.StatusNotFound, "%s %q not found: %v", at.plural, at.name, err)
		return
	}
	if uid := o["metadata"].(map[string]any)["uid"]; options.Preconditions.UID != "" && options.Preconditions.UID != uid {
		s.status(w, http.StatusConflict, "the UID in the precondition (%s) does not match the UID in record (%s)", options.Preconditions.UID, uid)
		return
	}
	delete(s.objects, at.object)
	delete(s.applied, at.object)
	s.answer(w, http.StatusOK, o)
}

func (s *Server) log(w http.ResponseWriter, r *http.Request, at target) {
	if _, ok := s.objects[at.object]; !ok {
		s.status(w, http.StatusNotFound, "pods %q not found", at.name)
		return
	}
	name := at.name
	if r.URL.Query().Get("previous") == "true" {
		name = "previous/" + name
	}
	lines := strings.SplitAfter(s.logs[name], "\n")
	if since := r.URL.Query().Get("sinceTime"); since != "" {
		lines = slices.DeleteFunc(lines, func(l string) bool { return l < strings.TrimSuffix(since, "Z") })
		lines = append(lines, "")
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("tailLines"))
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	w.Header().Set("Content-Type", "text/plain")
	if n > 0 {
		lines = lines[max(0, len(lines)-n):]
	}
	text := strings.Join(lines, "")
	limit, _ := strconv.Atoi(r.URL.Query().Get("limitBytes"))
	_, _ = io.WriteString(w, text[:min(limit, len(text))])
}

package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/kubernetes"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/kube/kubetest"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	namespace = "deputy-agents"
	image     = "registry.example/doc@sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

var doc = name.Workload{Pool: "default", Name: "Doc_agent"}

// cluster is an API server that the suite runs on: the one in memory, or a real one.
type cluster struct {
	t      *testing.T
	client *kube.Client
	do     func(method, path, contentType, body string) error // as an administrator
	// token returns one for a pod of a service account, as the kubelet gets it.
	token func(account, pod string, audience string) string
}

func inMemory(t *testing.T) (cluster, *kubetest.Server) {
	s := kubetest.New(t)
	client := kube.New(s.Config())
	t.Cleanup(client.Close)
	return cluster{t, client, s.Do, func(account, pod, audience string) string {
		return s.Issue(kubetest.Token{Namespace: namespace, Account: account, Pod: pod, Audiences: []string{audience}, Issued: time.Now(), Life: 10 * time.Minute})
	}}, s
}

func (c cluster) driver() *kubernetes.Driver {
	return &kubernetes.Driver{
		Client: c.client, Namespace: namespace, TrustDomain: "deputy.test", Audience: "https://id.example.com", DeputyNamespace: "deputy",
		AllowEgress: []string{"10.1.0.0/16"}, PullSecrets: []string{"registry"}, Log: slog.New(slog.DiscardHandler),
	}
}

func run(version int64) fleet.Run {
	return fleet.Run{
		Agent: agent.Agent{Pool: doc.Pool, Name: doc.Name, Version: version, Desired: agent.Running, CreatedAt: time.UnixMilli(1700000000000), Definition: agent.Definition{
			Name: doc.Name, Env: agent.Environment{"MODEL": "small", "TRICK": "$(PATH)", "DEPUTY_URL": "http://forged"}, Image: agent.Image{Ref: image},
		}},
		Env: map[string]string{"DEPUTY_URL": "https://id.example.com"},
	}
}

func path(plural, called string) string {
	api := map[string]string{"deployments": "apis/apps/v1", "networkpolicies": "apis/networking.k8s.io/v1"}[plural]
	if api == "" {
		api = "api/v1"
	}
	return "/" + api + "/namespaces/" + namespace + "/" + plural + "/" + called
}

// state is what the tests read of an object.
type state struct {
	Metadata struct {
		UID, ResourceVersion string
		Generation           int64
		Annotations          map[string]string
	}
	Spec struct {
		Replicas *int
		Template struct{ Spec json.RawMessage }
	}
}

func (c cluster) read(plural, called string) (state, error) {
	at := kube.Object{Kind: kube.Kind{API: strings.TrimPrefix(strings.Split(path(plural, called), "/namespaces/")[0], "/"), Plural: plural}, Namespace: namespace, Name: called}
	var s state
	err := c.client.Get(c.t.Context(), at, &s)
	return s, err
}

func (c cluster) mustRead(plural string) state {
	c.t.Helper()
	s, err := c.read(plural, called())
	c.must(err)
	return s
}

func (c cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func called() string { return kubernetes.ObjectName("deputy.test", doc) }

// roll is what the deployment controller reports: of replicas pods, updated are of
// the newest version, and available are ready.
func (c cluster) roll(replicas, updated, available int) {
	c.t.Helper()
	c.must(c.do(http.MethodPatch, path("deployments", called())+"/status", "application/merge-patch+json", fmt.Sprintf(
		`{"status":{"observedGeneration":%d,"replicas":%d,"updatedReplicas":%d,"readyReplicas":%d,"availableReplicas":%d}}`,
		c.mustRead("deployments").Metadata.Generation, replicas, updated, available, available)))
}

var plurals = []string{"deployments", "services", "networkpolicies", "serviceaccounts"}

// launch is the way of every agent: it is there once, it is healthy when Kubernetes
// says so, a second application changes nothing, and the end leaves nothing.
func launch(t *testing.T, c cluster) {
	d := c.driver()
	c.must(d.Build(t.Context(), run(1).Agent))
	i, err := d.Start(t.Context(), run(1))
	c.must(err)
	if want := "http://" + called() + "." + namespace + ".svc:8080"; i.URL() != want {
		t.Errorf("it is at %s, want %s", i.URL(), want)
	}
	if err := i.Probe(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("before there is a pod: %v", err)
	}
	c.roll(1, 1, 0)
	if err := i.Probe(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("before the pod is ready: %v", err)
	}
	c.roll(1, 1, 1)
	c.must(i.Probe(t.Context()))

	before := map[string]string{}
	for _, k := range plurals {
		before[k] = c.mustRead(k).Metadata.ResourceVersion
	}
	again, err := c.driver().Start(t.Context(), run(1)) // another Deputy, or this one after a restart
	c.must(err)
	c.must(again.Probe(t.Context()))
	for _, k := range plurals {
		if after := c.mustRead(k).Metadata.ResourceVersion; after != before[k] {
			t.Errorf("the second application changed %s: %s, then %s", k, before[k], after)
		}
	}

	i.Stop(t.Context())
	<-i.Done()
	if _, err := c.read("deployments", called()); !fault.Is(err, fault.NotFound) {
		t.Errorf("a stopped agent's Deployment: %v", err)
	}
	c.must(d.Remove(t.Context(), doc))
	c.must(d.Remove(t.Context(), doc)) // once more does no harm
	for _, k := range plurals {
		if _, err := c.read(k, called()); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s is left: %v", k, err)
		}
	}
}

// replace is a new version beside the one that serves.
func replace(t *testing.T, c cluster) {
	d := c.driver()
	first, err := d.Start(t.Context(), run(1))
	c.must(err)
	c.roll(1, 1, 1)
	// Somebody scales it; a new version leaves that alone.
	c.must(c.do(http.MethodPatch, path("deployments", called()), "application/merge-patch+json", `{"spec":{"replicas":3}}`))
	uid := c.mustRead("deployments").Metadata.UID
	second, err := d.Start(t.Context(), run(2))
	c.must(err)
	if s := c.mustRead("deployments"); s.Metadata.UID != uid || *s.Spec.Replicas != 3 {
		t.Errorf("the replacement made another Deployment, or %d replicas of 3", *s.Spec.Replicas)
	}
	c.roll(4, 1, 3)
	c.must(first.Probe(t.Context())) // it serves meanwhile
	if err := second.Probe(t.Context()); err == nil {
		t.Error("the new version is healthy while old pods are there")
	}
	c.roll(3, 3, 3)
	c.must(second.Probe(t.Context()))
	first.Stop(t.Context()) // replaced: the pods are the second one's
	c.must(second.Probe(t.Context()))

	// A Deputy that has not heard of it yet does not put the first one back.
	stale, err := c.driver().Start(t.Context(), run(1))
	c.must(err)
	if got := c.mustRead("deployments").Metadata.Annotations["deputy-id.github.io/version"]; got != "1700000000000-2" {
		t.Errorf("an old version took the place of a later one: %s", got)
	}
	stale.Stop(t.Context())
	c.must(second.Probe(t.Context()))

	// A third one that never is healthy is taken back.
	third, err := d.Start(t.Context(), run(3))
	c.must(err)
	c.roll(4, 1, 3)
	if err := third.Probe(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a version without a ready pod: %v", err)
	}
	third.Stop(t.Context())
	c.roll(3, 3, 3)
	c.must(second.Probe(t.Context()))
	second.Stop(t.Context())
	c.must(d.Remove(t.Context(), doc))
}

// strangers are objects that are not this Deputy's: they stay as they are.
func strangers(t *testing.T, c cluster) {
	theirs := fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":%q,"namespace":%q,"labels":{"app.kubernetes.io/managed-by":"deputy",
		"deputy-id.github.io/trust-domain":"other.test"}},"spec":{"ports":[{"port":80}]}}`, called(), namespace)
	c.must(c.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/services", "application/json", theirs))
	before := c.mustRead("services").Metadata.ResourceVersion
	d := c.driver()
	if _, err := d.Start(t.Context(), run(1)); !fault.HasCode(err, "kubernetes_not_ours") {
		t.Errorf("over somebody else's Service: %v", err)
	}
	if err := d.Remove(t.Context(), doc); !fault.HasCode(err, "kubernetes_not_ours") {
		t.Errorf("deleting somebody else's Service: %v", err)
	}
	c.must(d.Sweep(t.Context(), func(context.Context) (map[name.Workload]bool, error) { return nil, nil }))
	if after := c.mustRead("services").Metadata.ResourceVersion; after != before {
		t.Error("somebody else's Service was changed")
	}
	for _, k := range []string{"deployments", "networkpolicies", "serviceaccounts"} {
		if _, err := c.read(k, called()); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s is left: %v", k, err)
		}
	}
	c.must(c.do(http.MethodDelete, path("services", called()), "application/json", "{}"))
}

// sweeps are agents that were deleted while no Deputy ran.
func sweeps(t *testing.T, c cluster) {
	d := c.driver()
	_, err := d.Start(t.Context(), run(1))
	c.must(err)
	other := run(1)
	other.Agent.Name = "other"
	_, err = d.Start(t.Context(), other)
	c.must(err)
	c.must(d.Sweep(t.Context(), func(context.Context) (map[name.Workload]bool, error) { return map[name.Workload]bool{doc: true}, nil }))
	for _, k := range plurals {
		if _, err := c.read(k, kubernetes.ObjectName("deputy.test", other.Agent.Workload())); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s is left: %v", k, err)
		}
		c.mustRead(k)
	}
	c.must(d.Remove(t.Context(), doc))
}

// pod makes a pod of a version of the agent, with a status.
func (c cluster) pod(called string, version int64, status string) {
	c.t.Helper()
	c.must(c.do(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", "application/json", fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":%q,
		"labels":{"app.kubernetes.io/instance":%q,"app.kubernetes.io/managed-by":"deputy","deputy-id.github.io/trust-domain":"deputy.test"},
		"annotations":{"deputy-id.github.io/version":"1700000000000-%d"}},"spec":{"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
		"containers":[{"name":"agent","image":"a","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}`, called, namespace, kubernetes.ObjectName("deputy.test", doc), version)))
	c.must(c.do(http.MethodPatch, path("pods", called)+"/status", "application/merge-patch+json", `{"status":`+status+`}`))
}

// troubles are told in Kubernetes's words, and those of the right version.
func troubles(t *testing.T, c cluster) {
	d := c.driver()
	i, err := d.Start(t.Context(), run(1))
	c.must(err)
	c.roll(1, 1, 0)
	c.pod("former", 7, `{"containerStatuses":[{"name":"agent","image":"a","imageID":"","ready":false,"restartCount":0,"state":{"waiting":{"reason":"OfTheOther"}}}]}`)
	c.pod("crashing", 1, `{"containerStatuses":[{"name":"agent","image":"a","imageID":"","ready":false,"restartCount":3,
		"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off"}},"lastState":{"terminated":{"exitCode":2,"reason":"Error"}}}]}`)
	err = i.Probe(t.Context())
	if want := "pod crashing: CrashLoopBackOff after exit code 2 (Error), 3 restarts"; err == nil || err.Error() != want {
		t.Errorf("a crash loop is %v, want %s", err, want)
	}
	c.must(c.do(http.MethodPatch, path("deployments", called()), "application/merge-patch+json", `{"spec":{"replicas":0}}`))
	c.roll(0, 0, 0)
	if err := i.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "no replicas") {
		t.Errorf("scaled to zero: %v", err)
	}
	// Pods that do not end get no more time when the time is over.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	i.Stop(over)
	for _, pod := range []string{"crashing", "former"} {
		if err := c.do(http.MethodGet, path("pods", pod), "", ""); err == nil || !strings.Contains(err.Error(), "status 404") {
			t.Errorf("pod %s is left: %v", pod, err)
		}
	}
	c.must(d.Remove(t.Context(), doc))
}

// vanished is a Deployment that somebody deleted: the run has ended, but not at once,
// since it may have been another Deputy, who was told to.
func vanished(t *testing.T, c cluster) {
	d := c.driver()
	i, err := d.Start(t.Context(), run(1))
	c.must(err)
	c.must(c.do(http.MethodDelete, path("deployments", called()), "application/json", "{}"))
	for n := range 5 {
		select {
		case <-i.Done():
			t.Errorf("it ended after %d looks", n)
		default:
		}
		if err := i.Probe(t.Context()); !fault.Is(err, fault.Unavailable) {
			t.Errorf("without a Deployment: %v", err)
		}
	}
	<-i.Done()
	if i.Reason() != "its Deployment was deleted in the cluster" {
		t.Errorf("it ended because %s", i.Reason())
	}
	i.Stop(t.Context()) // of what has ended
	c.must(d.Remove(t.Context(), doc))
}

// scenarios are what holds on every API server.
func scenarios() map[string]func(*testing.T, cluster) {
	return map[string]func(*testing.T, cluster){
		"launch": launch, "replace": replace, "strangers": strangers, "sweep": sweeps, "troubles": troubles, "vanished": vanished, "attest": attests,
	}
}

func TestDriver(t *testing.T) {
	for name, test := range scenarios() {
		t.Run(name, func(t *testing.T) {
			c, _ := inMemory(t)
			test(t, c)
		})
	}
}

// logs are the lines of all pods and runs, in the order of their times.
func logs(t *testing.T, c cluster, server *kubetest.Server) {
	c.pod("second", 1, `{"containerStatuses":[{"restartCount":1}]}`)
	c.pod("first", 1, `{}`)
	server.SetLog("first", "", "2026-01-01T00:00:01.5Z one\n2026-01-01T00:00:04Z \x1b[31mfour\nhalf a li")
	server.SetLog("second", "2026-01-01T00:00:02.123456789Z two\n", "2026-01-01T00:00:03Z three\n")
	lines, err := c.driver().Logs(t.Context(), doc, 3)
	c.must(err)
	want := []string{"2026-01-01T00:00:02.123Z two", "2026-01-01T00:00:03.000Z three", "2026-01-01T00:00:04.000Z \ufffd[31mfour"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	following(t, c, server)
	server.Refuse("get /pods/log", http.StatusBadRequest) // of a container that has not begun
	if lines, err := c.driver().Logs(t.Context(), doc, 3); err != nil || len(lines) > 0 {
		t.Errorf("%q, %v", lines, err)
	}
	server.Refuse("get /pods/log", http.StatusForbidden)
	if _, err := c.driver().Logs(t.Context(), doc, 3); !fault.HasCode(err, "kubernetes_denied") {
		t.Errorf("error %v", err)
	}
	server.Refuse("get /pods/log", 0)
}

// following misses nothing and says nothing twice, over a restart of who follows.
func following(t *testing.T, c cluster, server *kubetest.Server) {
	d := c.driver()
	lines, place, err := d.Follow(t.Context(), doc, "", 2)
	if err != nil || len(lines) != 2 || !strings.HasSuffix(lines[0], " three") {
		t.Errorf("the last two lines are %q, %v", lines, err)
	}
	server.SetLog("first", "", "2026-01-01T00:00:04Z four\n2026-01-01T00:00:05Z five\n2026-01-01T00:00:07Z seven\n")
	server.SetLog("second", "", "2026-01-01T00:00:03Z three\n2026-01-01T00:00:06Z six\n2026-01-01T00:00:06.5Z six and a half\n")
	var all []string
	for range 2 {
		lines, place, err = c.driver().Follow(t.Context(), doc, place, 2)
		c.must(err)
		for _, line := range lines {
			_, said, _ := strings.Cut(line, " ")
			all = append(all, said)
		}
	}
	if diff := cmp.Diff([]string{"five", "six", "six and a half", "seven"}, all); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, at, err := d.Follow(waiting, doc, place, 2); !errors.Is(err, context.DeadlineExceeded) || at != place {
		t.Errorf("with nothing to say: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, _, err := d.Follow(t.Context(), doc, place, 2)
		ended <- err
	}()
	for removed := false; !removed; {
		c.must(d.Remove(t.Context(), doc))
		select {
		case err := <-ended:
			removed = true
			if !fault.HasCode(err, "agent_not_found") {
				t.Errorf("of a removed agent: %v", err)
			}
		case <-time.After(10 * time.Millisecond): // it had not begun to follow
		}
	}
}

func TestPlaces(t *testing.T) {
	c, _ := inMemory(t)
	for _, place := range []string{"x", "7", "at:a", "at:=1", "at:a=b", "at:a=-1", "at:" + strings.Repeat("a=1,", 99) + "b=1,c=1,d=1,e=1,f=1,g=1"} {
		if _, _, err := c.driver().Follow(t.Context(), doc, place, 1); !fault.HasCode(err, "log_place") {
			t.Errorf("place %q: %v", place, err)
		}
	}
}

func TestLogs(t *testing.T) {
	c, server := inMemory(t)
	logs(t, c, server)
}

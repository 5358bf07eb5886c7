package kubernetes_test

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/kubernetes"
	"github.com/deputy-id/deputy/internal/name"
)

// objects returns what a run is: policy and Deployment. That all of it is what
// Kubernetes's types have is checked by whoever it is applied to.
func objects(t *testing.T, r fleet.Run) (networkingv1.NetworkPolicy, appsv1.Deployment) {
	t.Helper()
	c, _ := inMemory(t)
	all, err := c.driver().Objects(r)
	if err != nil || len(all) != 4 {
		t.Fatalf("%d objects, %v", len(all), err)
	}
	var policy networkingv1.NetworkPolicy
	var d appsv1.Deployment
	for n, into := range map[int]any{1: &policy, 3: &d} {
		if err := json.Unmarshal(all[n], into); err != nil {
			t.Fatal(err)
		}
	}
	return policy, d
}

// An agent's pod may do little, says who it is by a token for Deputy alone, and its
// definition cannot say otherwise.
func TestPod(t *testing.T) {
	_, d := objects(t, run(1))
	restricted(t, d.Spec.Template)
	spec := d.Spec.Template.Spec
	if spec.ServiceAccountName != called() || *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks {
		t.Errorf("account %s, mounted %v, links %v", spec.ServiceAccountName, *spec.AutomountServiceAccountToken, *spec.EnableServiceLinks)
	}
	if d.Spec.Replicas != nil {
		t.Error("replicas are applied, so nobody else can scale it")
	}
	token := spec.Volumes[0].Projected.Sources[0].ServiceAccountToken
	if token.Audience != "https://id.example.com" || *token.ExpirationSeconds > 900 {
		t.Errorf("token %+v", token)
	}
	env := map[string]corev1.EnvVar{}
	for _, v := range spec.Containers[0].Env {
		env[v.Name] = v
	}
	for variable, want := range map[string]string{
		"MODEL": "small", "TRICK": "$$(PATH)", "DEPUTY_URL": "https://id.example.com", "PORT": "8080", "DEPUTY_WORKLOAD_TOKEN_FILE": "/var/run/secrets/deputy/token",
	} {
		if env[variable].Value != want {
			t.Errorf("%s is %q, want %q", variable, env[variable].Value, want)
		}
	}
	if env["DEPUTY_HOST"].ValueFrom.FieldRef.FieldPath != "status.podIP" {
		t.Errorf("it listens at %+v", env["DEPUTY_HOST"])
	}
	r := run(1)
	for health, want := range map[string]string{"": "/ping", "/health": "/health", agent.NoHealth: ""} {
		r.Agent.Definition.Image.Health = health
		_, d := objects(t, r)
		p := d.Spec.Template.Spec.Containers[0].ReadinessProbe
		if want == "" && p.TCPSocket == nil || want != "" && (p.HTTPGet == nil || p.HTTPGet.Path != want) {
			t.Errorf("health %q is asked by %+v", health, p)
		}
	}
}

// Deputy alone gets in; neighbours and the machine's metadata service are out of reach.
func TestNetworkPolicy(t *testing.T) {
	p, _ := objects(t, run(1))
	if len(p.Spec.Ingress) != 1 || len(p.Spec.Ingress[0].From) != 1 || p.Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "deputy" {
		t.Errorf("it is reached by %+v", p.Spec.Ingress)
	}
	reachable := func(address string) bool {
		a := netip.MustParseAddr(address)
		for _, rule := range p.Spec.Egress {
			for _, to := range rule.To {
				if to.IPBlock == nil || !netip.MustParsePrefix(to.IPBlock.CIDR).Contains(a) {
					continue
				}
				out := false
				for _, except := range to.IPBlock.Except {
					out = out || netip.MustParsePrefix(except).Contains(a)
				}
				if !out {
					return true
				}
			}
		}
		return false
	}
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "10.1.2.3": true, // the last one is what the operator allowed
		"10.2.2.3": false, "169.254.169.254": false, "192.168.0.1": false, "172.20.0.1": false, "100.100.100.200": false, "fd00:ec2::254": false, "fe80::1": false,
	} {
		if reachable(address) != want {
			t.Errorf("%s is reachable: %v", address, !want)
		}
	}
}

var dnsLabel = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

func TestObjectName(t *testing.T) {
	seen := map[string]name.Workload{}
	for _, pool := range []string{"default", "Default", "a-b"} {
		for _, called := range []string{"doc", "Doc", "doc_", "doc-", "d.oc", "0", strings.Repeat("long", 15), strings.Repeat("long", 15) + "x", "a-b"} {
			w := name.Workload{Pool: pool, Name: called}
			n := kubernetes.ObjectName("deputy.test", w)
			if !dnsLabel.MatchString(n) {
				t.Errorf("%s is %q in the cluster", w, n)
			}
			if other, twice := seen[n]; twice {
				t.Errorf("%s and %s are both %q", w, other, n)
			}
			seen[n] = w
		}
	}
	if kubernetes.ObjectName("a.test", doc) == kubernetes.ObjectName("b.test", doc) {
		t.Error("the names of two Deputies are the same")
	}
	if got, want := kubernetes.Subject("agents", "deputy.test", doc), "system:serviceaccount:agents:"+called(); got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
}

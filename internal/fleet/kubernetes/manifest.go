package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
)

// Manager is the field manager that the driver applies as.
const Manager = "deputy"

// The labels and annotations of what the driver makes.
const (
	labelManaged  = "app.kubernetes.io/managed-by" // Manager
	labelInstance = "app.kubernetes.io/instance"   // the name that all objects of an agent have
	labelOwner    = "deputy-id.github.io/trust-domain"
	noteWorkload  = "deputy-id.github.io/workload" // pool/name
	noteVersion   = "deputy-id.github.io/version"  // see versionOf
)

const (
	port         = 8080
	portName     = "http"
	user         = 65532 // "nonroot" of the distroless images
	identityDir  = "/var/run/secrets/deputy"
	identityFile = "token"
	home, tmp    = "/home/agent", "/tmp"
	// tokenSeconds is the shortest life that Kubernetes gives a token; the kubelet
	// replaces it at four fifths of it.
	tokenSeconds = 600
	// drainSeconds is how long a replaced pod goes on after new requests have gone
	// elsewhere, before it is told to end; graceSeconds is what it has then besides.
	drainSeconds, graceSeconds = 30, 15
)

// The kinds of objects that the driver has to do with.
var (
	serviceAccounts = kube.Kind{API: "api/v1", Plural: "serviceaccounts"}
	networkPolicies = kube.Kind{API: "apis/networking.k8s.io/v1", Plural: "networkpolicies"}
	services        = kube.Kind{API: "api/v1", Plural: "services"}
	deployments     = kube.Kind{API: "apis/apps/v1", Plural: "deployments"}
	pods            = kube.Kind{API: "api/v1", Plural: "pods"}
)

// kinds are those that an agent has one of, in the order in which they are deleted.
func kinds() []kube.Kind {
	return []kube.Kind{deployments, services, networkPolicies, serviceAccounts}
}

var notInLabels = regexp.MustCompile(`[^a-z0-9]+`)

// namePrefix begins the names of all objects of agents.
const namePrefix = "agent-"

// ObjectName returns the name that all objects of a workload have in the
// cluster, its service account too: names of workloads may be longer than
// Kubernetes's, and differ in what those cannot say.
func ObjectName(trustDomain string, w name.Workload) string {
	sum := sha256.Sum256([]byte(w.SPIFFEID(trustDomain)))
	slug := strings.Trim(notInLabels.ReplaceAllString(strings.ToLower(w.Name), "-"), "-")
	return namePrefix + strings.TrimRight(slug[:min(len(slug), 40)], "-") + "-" + hex.EncodeToString(sum[:5])
}

// Subject returns the name under which a workload's pods are known to the API
// server: the "sub" of their tokens, and the username of a TokenReview.
func Subject(namespace, trustDomain string, w name.Workload) string {
	return "system:serviceaccount:" + namespace + ":" + ObjectName(trustDomain, w)
}

// versionOf names a version of an agent. The time of creation is in it because
// versions begin at 1 again when an agent is deleted and deployed anew.
func versionOf(a agent.Agent) string { return fmt.Sprintf("%d-%d", a.CreatedAt.UnixMilli(), a.Version) }

// later reports whether version a is of the same agent as b and came after it.
func later(a, b string) bool {
	var madeA, madeB, versionA, versionB int64
	if n, err := fmt.Sscanf(a, "%d-%d", &madeA, &versionA); n != 2 || err != nil {
		return false
	}
	if n, err := fmt.Sscanf(b, "%d-%d", &madeB, &versionB); n != 2 || err != nil {
		return false
	}
	return madeA > madeB || madeA == madeB && versionA > versionB
}

// manifest is one object and where it belongs.
type manifest struct {
	at   kube.Object
	body any
}

// manifests returns everything that an agent is in the cluster, in the order in
// which it is to be applied: nothing listens before it is decided who may reach it.
// uids are those of the objects that are there, by kind: nothing else of the same
// name is changed.
func (d *Driver) manifests(r fleet.Run, uids map[kube.Kind]string) []manifest {
	called := ObjectName(d.TrustDomain, r.Agent.Workload())
	meta := metadata{Name: called, Namespace: d.Namespace, Labels: map[string]string{
		"app.kubernetes.io/name": "deputy-agent", labelInstance: called, labelManaged: Manager, labelOwner: d.TrustDomain,
	}, Annotations: map[string]string{noteWorkload: r.Agent.Workload().String()}}
	mine := selector{map[string]string{labelInstance: called, labelManaged: Manager}}
	of := func(k kube.Kind) kube.Object { return kube.Object{Kind: k, Namespace: d.Namespace, Name: called} }
	head := func(k kube.Kind, version, kind string) object {
		m := meta
		m.UID = uids[k]
		return object{version, kind, m}
	}
	versioned := head(deployments, "apps/v1", "Deployment")
	versioned.Metadata.Annotations = map[string]string{noteWorkload: r.Agent.Workload().String(), noteVersion: versionOf(r.Agent)}
	return []manifest{
		{of(serviceAccounts), serviceAccount{object: head(serviceAccounts, "v1", "ServiceAccount")}},
		{of(networkPolicies), networkPolicy{head(networkPolicies, "networking.k8s.io/v1", "NetworkPolicy"), d.policy(mine)}},
		{of(services), service{head(services, "v1", "Service"), serviceSpec{mine.MatchLabels, []servicePort{{portName, "TCP", port, portName}}}}},
		{of(deployments), deployment{versioned, deploymentSpec{
			Selector: mine, Strategy: strategy{"RollingUpdate", rollingUpdate{Surge: 1}}, HistoryLimit: 2, ProgressSeconds: 600,
			Template: podTemplate{podMetadata{meta.Labels, versioned.Metadata.Annotations}, d.pod(r, called)},
		}}},
	}
}

// policy lets Deputy in and nobody else, and the agent out to name servers, to
// Deputy, to what is public, and to what the operator allowed: not to its
// neighbours, nor to the machine's metadata service.
func (d *Driver) policy(mine selector) networkPolicySpec {
	all := []policyPort{{"UDP", 53}, {"TCP", 53}}
	spec := networkPolicySpec{
		PodSelector: mine, Types: []string{"Ingress", "Egress"},
		Ingress: []ingressRule{{Ports: []policyPort{{"TCP", portName}}}},
		Egress: []egressRule{{Ports: all}, {To: []peer{
			{Addresses: &ipBlock{"0.0.0.0/0", []string{"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}}},
			{Addresses: &ipBlock{"::/0", []string{"::1/128", "fc00::/7", "fe80::/10"}}},
		}}},
	}
	if d.DeputyNamespace != "" {
		deputy := peer{
			Namespaces: &selector{map[string]string{"kubernetes.io/metadata.name": d.DeputyNamespace}},
			Pods:       &selector{map[string]string{"app.kubernetes.io/name": "deputy"}},
		}
		spec.Ingress[0].From = []peer{deputy}
		spec.Egress = append(spec.Egress, egressRule{To: []peer{deputy}})
	}
	for _, cidr := range d.AllowEgress {
		spec.Egress = append(spec.Egress, egressRule{To: []peer{{Addresses: &ipBlock{CIDR: cidr}}}})
	}
	return spec
}

func (d *Driver) pod(r fleet.Run, called string) podSpec {
	image := r.Agent.Definition.Image
	check := func(every, failures int) probe {
		p := probe{Every: every, Timeout: 5, Failures: failures}
		switch image.Health {
		case agent.NoHealth:
			p.TCP = &tcpSocket{portName}
		case "":
			p.HTTP = &httpGet{"/ping", portName}
		default:
			p.HTTP = &httpGet{image.Health, portName}
		}
		return p
	}
	spec := podSpec{
		ServiceAccount: called, GraceSeconds: drainSeconds + graceSeconds,
		Security: podSecurity{NonRoot: true, User: user, Group: user, FSGroup: user, Seccomp: seccomp{"RuntimeDefault"}},
		Containers: []container{{
			Name: "agent", Image: image.Ref, Env: environment(r), Ports: []containerPort{{portName, port, "TCP"}},
			Resources: resources{map[string]string{"cpu": "50m", "memory": "64Mi"}, map[string]string{"memory": d.memory()}},
			Security:  containerSecurity{ReadOnly: true, Capabilities: capabilities{[]string{"ALL"}}},
			// Two minutes to come up; then out of service after 15 seconds without health, and started again after a minute.
			Startup: check(1, 120), Readiness: check(5, 3), Liveness: check(10, 6),
			Lifecycle: lifecycle{preStop{sleep{drainSeconds}}},
			Mounts:    []mount{{"identity", identityDir, true}, {"home", home, false}, {"tmp", tmp, false}},
		}},
		Volumes: []volume{
			{Name: "identity", Projected: &projected{0o440, []projectedSource{{tokenSource{d.Audience, tokenSeconds, identityFile}}}}},
			{Name: "home", EmptyDir: &emptyDir{"1Gi"}}, {Name: "tmp", EmptyDir: &emptyDir{"1Gi"}},
		},
	}
	for _, pull := range d.PullSecrets {
		spec.PullSecrets = append(spec.PullSecrets, pullSecret{pull})
	}
	return spec
}

// environment returns the agent's variables, sorted. Those of the runtime win.
func environment(r fleet.Run) []variable {
	all := maps.Clone(map[string]string(r.Agent.Definition.Env))
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, r.Env)
	all["PORT"], all["HOME"], all["TMPDIR"] = fmt.Sprint(port), home, tmp
	all["DEPUTY_WORKLOAD_TOKEN_FILE"] = identityDir + "/" + identityFile
	list := []variable{{Name: "DEPUTY_HOST", From: &source{field{"status.podIP"}}}}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		list = append(list, variable{Name: n, Value: escaped(all[n])})
	}
	return list
}

// escaped keeps Kubernetes from taking $(NAME) for a reference.
func escaped(value string) string { return strings.ReplaceAll(value, "$(", "$$(") }

package cli

import (
	"strconv"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/server"
)

// runtimeSettings are the settings of what agents run on.
type runtimeSettings struct {
	Driver                string   `help:"What agents run on: ${enum}." enum:"process,kubernetes" default:"process" env:"DEPUTY_DRIVER"`
	AgentDir              string   `help:"Directory for agents' files, outside of the data directory if they have users of their own." env:"DEPUTY_AGENT_DIR" placeholder:"DIR"`
	AgentUsers            string   `help:"Run each agent as a user of its own, from this range of ids; Deputy must be root. See docs/operating.md." env:"DEPUTY_AGENT_USERS" placeholder:"FIRST-LAST"`
	AgentCgroup           string   `help:"Control group (cgroup v2) that Deputy may divide, for the limits." env:"DEPUTY_AGENT_CGROUP" placeholder:"DIR"`
	AgentMemory           int64    `help:"MiB of memory that one agent may have; unlimited by default." env:"DEPUTY_AGENT_MEMORY" placeholder:"MIB"`
	AgentProcesses        int      `help:"Processes and threads that one agent may have; unlimited by default." env:"DEPUTY_AGENT_PROCESSES" placeholder:"N"`
	AgentCPU              float64  `name:"agent-cpu" help:"Processors that one agent may use; unlimited by default." env:"DEPUTY_AGENT_CPU" placeholder:"N"`
	KubernetesNamespace   string   `help:"Namespace of the agents; see docs/kubernetes.md." env:"DEPUTY_KUBERNETES_NAMESPACE" placeholder:"NAME"`
	Kubeconfig            string   `help:"How the cluster is reached; without it, Deputy runs in it." env:"DEPUTY_KUBECONFIG" placeholder:"FILE"`
	KubeContext           string   `help:"Context of the kubeconfig; the current one by default." env:"DEPUTY_KUBE_CONTEXT" placeholder:"NAME"`
	KubernetesMemory      string   `help:"Memory that an agent may have, ${default} by default." default:"512Mi" env:"DEPUTY_KUBERNETES_MEMORY" placeholder:"N"`
	KubernetesAllowEgress []string `help:"Addresses that agents may reach besides public ones: a CIDR. May be repeated." env:"DEPUTY_KUBERNETES_ALLOW_EGRESS" placeholder:"CIDR"`
	KubernetesPullSecret  []string `help:"Secret of the namespace with which agents' images are pulled. May be repeated." env:"DEPUTY_KUBERNETES_PULL_SECRET" placeholder:"NAME"`
}

func (r runtimeSettings) kubernetes() server.Kubernetes {
	return server.Kubernetes{
		Namespace: r.KubernetesNamespace, Kubeconfig: r.Kubeconfig, Context: r.KubeContext, Memory: r.KubernetesMemory,
		AllowEgress: r.KubernetesAllowEgress, PullSecrets: r.KubernetesPullSecret,
	}
}

// agents fills in what agents as processes may do and have.
func (r runtimeSettings) agents(c *server.Config) error {
	if r.AgentMemory < 0 || r.AgentMemory > 1<<30 || r.AgentProcesses < 0 || r.AgentCPU < 0 || r.AgentCPU > 1<<10 {
		return fault.New(fault.Invalid, "limit_invalid", "a limit of agents is negative or larger than can be meant").WithSource("--agent-memory, --agent-processes, --agent-cpu").WithFix("see docs/operating.md")
	}
	c.AgentDir, c.AgentCgroup = r.AgentDir, r.AgentCgroup
	c.AgentLimits = process.Limits{Memory: r.AgentMemory << 20, Processes: r.AgentProcesses, CPU: r.AgentCPU}
	if r.AgentUsers == "" {
		return nil
	}
	from, to, _ := strings.Cut(r.AgentUsers, "-")
	first, err := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err != nil || err2 != nil || last < first {
		return fault.New(fault.Invalid, "agent_users", "%q is no range of user ids", name.Clip(r.AgentUsers, 40)).WithSource("--agent-users").WithFix("write for instance 200000-200999")
	}
	c.AgentUsers = process.Users{First: first, Count: last - first + 1}
	return nil
}

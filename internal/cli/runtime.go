package cli

import "github.com/deputy-id/deputy/internal/server"

// runtimeSettings are the settings of what agents run on.
type runtimeSettings struct {
	Driver                string   `help:"What agents run on: ${enum}." enum:"process,kubernetes" default:"process" env:"DEPUTY_DRIVER"`
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

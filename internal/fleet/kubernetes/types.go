package kubernetes

// The types of Kubernetes's API with the fields that the driver writes or reads.
// A test decodes all that is written into Kubernetes's own types, strictly.

type object struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
}

type metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	UID         string            `json:"uid,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type serviceAccount struct {
	object
	Automount bool `json:"automountServiceAccountToken"`
}

type service struct {
	object
	Spec serviceSpec `json:"spec"`
}

type serviceSpec struct {
	Selector map[string]string `json:"selector"`
	Ports    []servicePort     `json:"ports"`
}

type servicePort struct {
	Name       string `json:"name"`
	Protocol   string `json:"protocol"`
	Port       int    `json:"port"`
	TargetPort string `json:"targetPort"`
}

type networkPolicy struct {
	object
	Spec networkPolicySpec `json:"spec"`
}

type networkPolicySpec struct {
	PodSelector selector      `json:"podSelector"`
	Types       []string      `json:"policyTypes"`
	Ingress     []ingressRule `json:"ingress"`
	Egress      []egressRule  `json:"egress"`
}

type selector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

type ingressRule struct {
	From  []peer       `json:"from,omitempty"` // none: everybody
	Ports []policyPort `json:"ports"`
}

type egressRule struct {
	To    []peer       `json:"to,omitempty"`
	Ports []policyPort `json:"ports,omitempty"`
}

type peer struct {
	Pods       *selector `json:"podSelector,omitempty"`
	Namespaces *selector `json:"namespaceSelector,omitempty"`
	Addresses  *ipBlock  `json:"ipBlock,omitempty"`
}

type ipBlock struct {
	CIDR   string   `json:"cidr"`
	Except []string `json:"except,omitempty"`
}

type policyPort struct {
	Protocol string `json:"protocol"`
	Port     any    `json:"port"` // a number, or a name of the pod's
}

type deployment struct {
	object
	Spec deploymentSpec `json:"spec"`
}

type deploymentSpec struct {
	// There is no replicas: how many there are is left to kubectl scale and
	// autoscalers; the API server begins with one.
	Selector        selector    `json:"selector"`
	Template        podTemplate `json:"template"`
	Strategy        strategy    `json:"strategy"`
	HistoryLimit    int         `json:"revisionHistoryLimit"`
	ProgressSeconds int         `json:"progressDeadlineSeconds"`
}

type strategy struct {
	Type    string        `json:"type"`
	Rolling rollingUpdate `json:"rollingUpdate"`
}

type rollingUpdate struct {
	Surge       int `json:"maxSurge"`
	Unavailable int `json:"maxUnavailable"`
}

type podTemplate struct {
	Metadata podMetadata `json:"metadata"`
	Spec     podSpec     `json:"spec"`
}

type podMetadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type podSpec struct {
	ServiceAccount string       `json:"serviceAccountName"`
	Automount      bool         `json:"automountServiceAccountToken"`
	ServiceLinks   bool         `json:"enableServiceLinks"`
	GraceSeconds   int          `json:"terminationGracePeriodSeconds"`
	Security       podSecurity  `json:"securityContext"`
	PullSecrets    []pullSecret `json:"imagePullSecrets,omitempty"`
	Containers     []container  `json:"containers"`
	Volumes        []volume     `json:"volumes"`
}

type pullSecret struct {
	Name string `json:"name"`
}

type podSecurity struct {
	NonRoot bool    `json:"runAsNonRoot"`
	User    int     `json:"runAsUser"`
	Group   int     `json:"runAsGroup"`
	FSGroup int     `json:"fsGroup"`
	Seccomp seccomp `json:"seccompProfile"`
}

type seccomp struct {
	Type string `json:"type"`
}

type container struct {
	Name      string            `json:"name"`
	Image     string            `json:"image"`
	Env       []variable        `json:"env"`
	Ports     []containerPort   `json:"ports"`
	Resources resources         `json:"resources"`
	Security  containerSecurity `json:"securityContext"`
	Startup   probe             `json:"startupProbe"`
	Readiness probe             `json:"readinessProbe"`
	Liveness  probe             `json:"livenessProbe"`
	Lifecycle lifecycle         `json:"lifecycle"`
	Mounts    []mount           `json:"volumeMounts"`
}

type variable struct {
	Name  string  `json:"name"`
	Value string  `json:"value,omitempty"`
	From  *source `json:"valueFrom,omitempty"`
}

type source struct {
	Field field `json:"fieldRef"`
}

type field struct {
	Path string `json:"fieldPath"`
}

type containerPort struct {
	Name     string `json:"name"`
	Port     int    `json:"containerPort"`
	Protocol string `json:"protocol"`
}

type resources struct {
	Requests map[string]string `json:"requests"`
	Limits   map[string]string `json:"limits"`
}

type containerSecurity struct {
	Escalation   bool         `json:"allowPrivilegeEscalation"`
	ReadOnly     bool         `json:"readOnlyRootFilesystem"`
	Capabilities capabilities `json:"capabilities"`
}

type capabilities struct {
	Drop []string `json:"drop"`
}

type probe struct {
	HTTP     *httpGet   `json:"httpGet,omitempty"`
	TCP      *tcpSocket `json:"tcpSocket,omitempty"`
	Every    int        `json:"periodSeconds"`
	Timeout  int        `json:"timeoutSeconds"`
	Failures int        `json:"failureThreshold"`
}

type httpGet struct {
	Path string `json:"path"`
	Port string `json:"port"`
}

type tcpSocket struct {
	Port string `json:"port"`
}

type lifecycle struct {
	PreStop preStop `json:"preStop"`
}

type preStop struct {
	Sleep sleep `json:"sleep"`
}

type sleep struct {
	Seconds int `json:"seconds"`
}

type mount struct {
	Name     string `json:"name"`
	Path     string `json:"mountPath"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

type volume struct {
	Name      string     `json:"name"`
	EmptyDir  *emptyDir  `json:"emptyDir,omitempty"`
	Projected *projected `json:"projected,omitempty"`
}

type emptyDir struct {
	Limit string `json:"sizeLimit"`
}

type projected struct {
	Mode    int               `json:"defaultMode"`
	Sources []projectedSource `json:"sources"`
}

type projectedSource struct {
	Token tokenSource `json:"serviceAccountToken"`
}

type tokenSource struct {
	Audience string `json:"audience"`
	Seconds  int    `json:"expirationSeconds"`
	Path     string `json:"path"`
}

// deployed is what is read of a Deployment.
type deployed struct {
	Metadata struct {
		metadata
		Generation int64  `json:"generation"`
		Deletion   string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Replicas int `json:"replicas"`
	} `json:"spec"`
	Status struct {
		Observed  int64 `json:"observedGeneration"`
		Replicas  int   `json:"replicas"`
		Updated   int   `json:"updatedReplicas"`
		Available int   `json:"availableReplicas"`
	} `json:"status"`
}

// pod is what is read of a Pod.
type pod struct {
	Metadata struct {
		metadata
		Created  string `json:"creationTimestamp"`
		Deletion string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Phase      string `json:"phase"`
		Message    string `json:"message"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"conditions"`
		Containers []containerStatus `json:"containerStatuses"`
	} `json:"status"`
}

type containerStatus struct {
	Restarts int      `json:"restartCount"`
	State    podState `json:"state"`
	Last     podState `json:"lastState"`
}

type podState struct {
	Waiting *struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	} `json:"waiting"`
	Terminated *struct {
		Reason string `json:"reason"`
		Code   int    `json:"exitCode"`
	} `json:"terminated"`
}

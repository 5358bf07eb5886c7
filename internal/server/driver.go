package server

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/fleet/attached"
	"github.com/deputy-id/deputy/internal/fleet/kubernetes"
	"github.com/deputy-id/deputy/internal/fleet/process"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
)

// What agents run on.
const (
	onProcesses  = "process"
	onKubernetes = "kubernetes"
)

// Kubernetes says where agents run on a cluster, and with what bounds.
type Kubernetes struct {
	Namespace   string   // of the agents
	Kubeconfig  string   // "" for the cluster that Deputy itself runs in
	Context     string   // of the kubeconfig; "" for the current one
	AllowEgress []string // address ranges that agents may reach besides public ones
	PullSecrets []string // Secrets of the namespace with which images are pulled
	Memory      string   // that an agent may have, as Kubernetes writes it; "" for 512Mi
}

var (
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	quantity = regexp.MustCompile(`^[1-9][0-9]{0,9}(Ki|Mi|Gi|Ti|k|M|G|T)?$`)
)

// completeDriver checks what agents run on.
func (c *Config) completeDriver() error {
	if c.Driver == "" {
		c.Driver = onProcesses
	}
	if err := c.completeAgentDir(); err != nil {
		return err
	}
	k := c.Kubernetes
	invalid := func(flag, format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "driver_invalid", format, args...).WithSource(flag)
	}
	switch {
	case c.Driver == onProcesses:
		return nil
	case c.Attach != nil:
		return invalid("--driver", "a developer's agent is attached to a cluster").WithFix("leave --driver out")
	case c.Driver != onKubernetes:
		return invalid("--driver", "%q runs no agents", name.Clip(c.Driver, 80)).WithFix("use process or kubernetes")
	case c.IngressListen == "":
		return invalid("--driver", "agents run nowhere without the runtime").WithFix("give --ingress-listen, or leave --driver out")
	case !dnsLabel.MatchString(k.Namespace):
		return invalid("--kubernetes-namespace", "%q is not a namespace", name.Clip(k.Namespace, 80)).WithFix("name the namespace that agents are to run in")
	case c.TrustDomain == defaultTrustDomain:
		// What Deputy finds in the cluster under its trust domain and does not know, it deletes.
		return invalid("--trust-domain", "%s is everybody's, and in a cluster the trust domain marks whose agents are whose", defaultTrustDomain).
			WithFix("choose one that no other Deputy has, such as your own domain")
	case k.Memory != "" && !quantity.MatchString(k.Memory):
		return invalid("--kubernetes-memory", "%q is not an amount of memory", name.Clip(k.Memory, 80)).WithFix("write for instance 512Mi")
	}
	for _, cidr := range k.AllowEgress {
		if p, err := netip.ParsePrefix(cidr); err != nil || p.Masked() != p {
			return invalid("--kubernetes-allow-egress", "%q is not a range of addresses", name.Clip(cidr, 80)).WithFix("write for instance 10.1.0.0/16")
		}
	}
	for _, pull := range k.PullSecrets {
		if !dnsLabel.MatchString(pull) {
			return invalid("--kubernetes-pull-secret", "%q is not the name of a Secret", name.Clip(pull, 80))
		}
	}
	return nil
}

// completeAgentDir checks where agents' files are. Agents with users of their own
// must be able to get there, and the data directory lets nobody in.
func (c *Config) completeAgentDir() error {
	if c.AgentDir == "" {
		c.AgentDir = c.Data
	}
	dir, err := filepath.Abs(c.AgentDir)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "agent_dir", "the directory of agents has no absolute path").WithSource("--agent-dir")
	}
	c.AgentDir = dir
	if c.AgentUsers == (process.Users{}) {
		return nil
	}
	if inside, err := filepath.Rel(c.Data, dir); err == nil && inside != ".." && !strings.HasPrefix(inside, "../") {
		return fault.New(fault.Invalid, "agent_dir", "agents with users of their own cannot enter the data directory").WithSource("--agent-dir").
			WithFix("name a directory outside of %s, such as /var/lib/deputy-agents", c.Data)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // Agents come through here.
		return fault.Wrap(err, fault.Invalid, "agent_dir", "the directory %s cannot be made", dir).WithSource("--agent-dir")
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return fault.Wrap(err, fault.Invalid, "agent_dir", "agents with users of their own cannot pass %s", at).WithSource("--agent-dir").
				WithFix("chmod o+x %s, or name another directory", at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// Attach is an agent that its developer starts himself; see package attached.
type Attach struct {
	Workload name.Workload
	URL      string // where it listens, on loopback
	Begin    func(environment map[string]string) error
	Found    func()
}

// Somebody sits before it, and starts it again and again.
const (
	attachedProbe   = 5 * time.Second
	attachedBackoff = time.Second
)

// The fleet's patience on a cluster, where images are pulled and pods drain.
const (
	clusterStart = 5 * time.Minute
	clusterStop  = time.Minute
	sweepEvery   = 5 * time.Minute
)

// chooseDriver fills in what agents run on.
func (s *Server) chooseDriver(f *fleet.Config) error {
	c := s.config
	if c.Driver == onProcesses {
		d := &process.Driver{Dir: filepath.Join(c.AgentDir, "agents"), Log: c.Logger, Users: c.AgentUsers, Limits: c.AgentLimits, Cgroup: c.AgentCgroup}
		if err := d.Prepare(); err != nil {
			return err
		}
		f.Driver, f.Dir, f.Group = d, filepath.Join(c.AgentDir, "launch"), d.Group
		if a := c.Attach; a != nil {
			f.Driver = &attached.Driver{Driver: f.Driver, Workload: a.Workload, URL: a.URL, Begin: a.Begin, Found: a.Found}
			f.ProbeEvery, f.BackoffMax = attachedProbe, attachedBackoff
		}
		return nil
	}
	config, err := kube.InCluster()
	home := config.Namespace
	if c.Kubernetes.Kubeconfig != "" {
		// Outside the cluster, the namespace of a context says nothing about where Deputy is.
		config, err = kube.ReadKubeconfig(c.Kubernetes.Kubeconfig, c.Kubernetes.Context)
		home = ""
	}
	if err != nil {
		return err
	}
	client := kube.New(config)
	s.onClose(client.Close)
	s.cluster = &kubernetes.Driver{
		Client: client, Namespace: c.Kubernetes.Namespace, TrustDomain: c.TrustDomain, Audience: c.PublicURL, DeputyNamespace: home,
		AllowEgress: c.Kubernetes.AllowEgress, PullSecrets: c.Kubernetes.PullSecrets, Memory: c.Kubernetes.Memory, Log: c.Logger,
	}
	f.Driver, f.Launches, f.Outlive, f.StartTimeout, f.StopTimeout = s.cluster, nil, true, clusterStart, clusterStop
	return nil
}

// objects returns what an agent would be in the cluster; nil if there is none.
func (s *Server) objects() func(agent.Agent) ([]json.RawMessage, error) {
	if s.cluster == nil {
		return nil
	}
	return func(a agent.Agent) ([]json.RawMessage, error) {
		if err := s.cluster.Build(context.Background(), a); err != nil {
			return nil, err
		}
		return s.cluster.Objects(fleet.Run{Agent: a, Env: s.fleet.Environment(a.Workload())})
	}
}

// sweep deletes, now and then, what is left in the cluster of agents that were
// deleted or stopped while no Deputy ran.
func (s *Server) sweep(ctx context.Context, agents agent.Store) {
	wanted := func(ctx context.Context) (map[name.Workload]bool, error) {
		all, err := agents.Agents(ctx, "")
		running := map[name.Workload]bool{}
		for _, a := range all {
			if a.Desired == agent.Running {
				running[a.Workload()] = true
			}
		}
		return running, err
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if err := s.cluster.Sweep(ctx, wanted); err != nil && ctx.Err() == nil {
			s.config.Logger.Error("the cluster cannot be looked through for what is left of agents", "err", err)
		}
		next.Reset(sweepEvery)
	}
}

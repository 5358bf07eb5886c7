// Package kubernetes runs agents on a cluster, as Deployments that Deputy applies and Kubernetes keeps.
//
// Several Deputies that share a database may drive the same agents at once: what
// each applies is the same, and a version is never put in the place of a later one.
// Agents go on when Deputy ends.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/deputy-id/deputy/internal/agent"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
)

// Driver implements fleet.Driver. Its fields are set before the first call and
// not changed afterwards.
type Driver struct {
	Client    *kube.Client
	Namespace string // of the agents; it exists
	// TrustDomain marks what is this Deputy's: objects with another one, or none,
	// are left alone.
	TrustDomain string
	Audience    string // of the tokens with which agents prove what they are: Deputy's public URL
	// DeputyNamespace is where Deputy's own pods are, which alone may reach agents.
	// "" if it runs outside the cluster: then everybody may who gets there.
	DeputyNamespace string
	AllowEgress     []string // address ranges that agents may reach besides public ones
	PullSecrets     []string // Secrets in Namespace with which images are pulled
	Memory          string   // that an agent may have, as Kubernetes writes it; "" for 512Mi
	Log             *slog.Logger

	mu      sync.Mutex
	runs    map[name.Workload][]*instance   // not stopped, in the order of their start
	removed map[name.Workload]chan struct{} // closed by Remove, for those who follow a log
}

var _ fleet.Driver = (*Driver)(nil)

func (d *Driver) memory() string {
	if d.Memory == "" {
		return "512Mi"
	}
	return d.Memory
}

// Build implements fleet.Driver. An image is built where the agent's files are, by
// deputy launch, so that there is none to build here.
func (d *Driver) Build(_ context.Context, a agent.Agent) error {
	if a.Definition.Image.Ref == "" {
		return fault.New(fault.Invalid, "agent_image_missing", "agents run as containers here, and nothing says of which image").
			WithFix("deploy it with deputy launch --registry, or set image in its agentkit.yaml")
	}
	return agent.CheckImage(a.Definition.Image.Ref)
}

// Start implements fleet.Driver. It returns when the cluster knows what is wanted.
// A later version that is there already, another Deputy's work, stays.
func (d *Driver) Start(ctx context.Context, r fleet.Run) (fleet.Instance, error) {
	i := &instance{driver: d, run: r, version: versionOf(r.Agent), done: make(chan struct{})}
	if err := d.apply(ctx, r, false); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runs == nil {
		d.runs = map[name.Workload][]*instance{}
	}
	w := r.Agent.Workload()
	d.runs[w] = append(d.runs[w], i)
	return i, nil
}

// apply makes the cluster have what r says, unless it has a later version and
// back is false.
func (d *Driver) apply(ctx context.Context, r fleet.Run, back bool) error {
	called, uids := ObjectName(d.TrustDomain, r.Agent.Workload()), map[kube.Kind]string{}
	for _, k := range kinds() {
		there, err := d.own(ctx, kube.Object{Kind: k, Namespace: d.Namespace, Name: called})
		if err != nil {
			return err
		}
		if !back && k == deployments && later(there.Annotations[noteVersion], versionOf(r.Agent)) {
			return nil
		}
		uids[k] = there.UID
	}
	for _, m := range d.manifests(r, uids) {
		body, err := json.Marshal(m.body)
		if err != nil {
			return err
		}
		if err := d.Client.Apply(ctx, m.at, Manager, body, nil); err != nil {
			return err
		}
	}
	return nil
}

// Objects returns everything that a run is in the cluster, as JSON, in the order in
// which it is applied.
func (d *Driver) Objects(r fleet.Run) ([]json.RawMessage, error) {
	var list []json.RawMessage
	for _, m := range d.manifests(r, nil) {
		b, err := json.Marshal(m.body)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// own returns the metadata of an object that is there, zero if there is none. One
// that is somebody else's is a fault.
func (d *Driver) own(ctx context.Context, at kube.Object) (metadata, error) {
	var there object
	if err := d.Client.Get(ctx, at, &there); fault.Is(err, fault.NotFound) {
		return metadata{}, nil
	} else if err != nil {
		return metadata{}, err
	}
	if !d.isOwn(there.Metadata) {
		return metadata{}, fault.New(fault.Invalid, "kubernetes_not_ours", "%s %s in namespace %s is not this Deputy's", at.Plural, at.Name, at.Namespace).
			WithFix("delete it if nobody needs it, or give every Deputy a namespace of its own")
	}
	return there.Metadata, nil
}

func (d *Driver) isOwn(m metadata) bool {
	return m.Labels[labelManaged] == Manager && m.Labels[labelOwner] == d.TrustDomain
}

// selector chooses all that is this Deputy's, or of one agent of it.
func (d *Driver) selector(called string) string {
	s := labelManaged + "=" + Manager + "," + labelOwner + "=" + d.TrustDomain
	if called != "" {
		s += "," + labelInstance + "=" + called
	}
	return s
}

// Remove implements fleet.Driver.
func (d *Driver) Remove(ctx context.Context, w name.Workload) error {
	if w.IsZero() {
		return fault.New(fault.Internal, "kubernetes_remove", "%q is not a workload", w)
	}
	d.mu.Lock()
	if followed := d.removed[w]; followed != nil {
		close(followed)
		delete(d.removed, w)
	}
	d.mu.Unlock()
	var problems []error
	for _, k := range kinds() {
		at := kube.Object{Kind: k, Namespace: d.Namespace, Name: ObjectName(d.TrustDomain, w)}
		there, err := d.own(ctx, at)
		if err == nil && there.UID != "" {
			err = d.Client.Delete(ctx, at, there.UID, false)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// Sweep deletes what is left of agents that wanted does not name: those that were
// deleted or stopped while no Deputy ran. wanted is asked after the cluster, so that
// an agent which has just been deployed is not missed.
func (d *Driver) Sweep(ctx context.Context, wanted func(context.Context) (map[name.Workload]bool, error)) error {
	var found []leftover
	for _, k := range kinds() {
		err := d.Client.List(ctx, kube.Object{Kind: k, Namespace: d.Namespace}, d.selector(""), func(b []byte) error {
			var o object
			err := json.Unmarshal(b, &o)
			found = append(found, leftover{kube.Object{Kind: k, Namespace: d.Namespace, Name: o.Metadata.Name}, o.Metadata})
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	keep, err := wanted(ctx)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for w := range keep {
		names[ObjectName(d.TrustDomain, w)] = true
	}
	var problems []error
	for _, f := range found {
		if !names[f.at.Name] && d.isOwn(f.meta) {
			d.Log.Info("deleting what is left of an agent", "kind", f.at.Plural, "name", f.at.Name, "agent", f.meta.Annotations[noteWorkload])
			problems = append(problems, d.Client.Delete(ctx, f.at, f.meta.UID, false))
		}
	}
	return errors.Join(problems...)
}

type leftover struct {
	at   kube.Object
	meta metadata
}

// podsOf returns an agent's pods, the newest first.
func (d *Driver) podsOf(ctx context.Context, called string) ([]pod, error) {
	var list []pod
	err := d.Client.List(ctx, kube.Object{Kind: pods, Namespace: d.Namespace}, d.selector(called), func(b []byte) error {
		var p pod
		err := json.Unmarshal(b, &p)
		list = append(list, p)
		return err
	})
	slices.SortStableFunc(list, func(a, b pod) int { return strings.Compare(b.Metadata.Created, a.Metadata.Created) })
	return list, err
}

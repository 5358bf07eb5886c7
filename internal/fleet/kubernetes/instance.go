package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/fleet"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
)

const (
	// looksToEnd is how many health checks in a row find no Deployment before the run
	// counts as ended. They take longer than the fleet takes to hear that another
	// Deputy stopped the agent, which is no reason to start it again.
	looksToEnd = 5
	// podsEvery is the pause between two looks at whether pods are gone.
	podsEvery = 500 * time.Millisecond
	// afterwards bounds what is still done when Stop's time is over.
	afterwards = 10 * time.Second
)

// instance is a version of an agent that runs.
type instance struct {
	driver  *Driver
	run     fleet.Run
	version string
	done    chan struct{}

	mu      sync.Mutex
	missing int    // looks in a row that found no Deployment
	reason  string // why it ended; set before done is closed
}

func (i *instance) called() string { return ObjectName(i.driver.TrustDomain, i.run.Agent.Workload()) }

func (i *instance) at() kube.Object {
	return kube.Object{Kind: deployments, Namespace: i.driver.Namespace, Name: i.called()}
}

// URL implements fleet.Instance. All versions of an agent have one: which pods
// answer there is Kubernetes's business.
func (i *instance) URL() string {
	return fmt.Sprintf("http://%s.%s.svc:%d", i.called(), i.driver.Namespace, port)
}

// Probe implements fleet.Instance. What the kubelet finds by the pods' probes
// is what counts; nobody asks the agent besides.
func (i *instance) Probe(ctx context.Context) error {
	var there deployed
	err := i.driver.Client.Get(ctx, i.at(), &there)
	if fault.Is(err, fault.NotFound) {
		return i.isMissing()
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.missing = 0
	i.mu.Unlock()
	if there.Metadata.Deletion != "" || !i.driver.isOwn(there.Metadata.metadata) {
		return unhealthy("its Deployment is being deleted, or is somebody else's")
	}
	applied, status := there.Metadata.Annotations[noteVersion], there.Status
	switch {
	case applied == i.version && (status.Observed < there.Metadata.Generation || status.Updated < min(1, there.Spec.Replicas)):
		return unhealthy("Kubernetes has not begun with it")
	case applied == i.version && status.Updated == status.Replicas && status.Available > 0:
		return nil
	case later(applied, i.version) && status.Available > 0:
		return nil // it is being replaced, and something serves
	case applied != i.version && !later(applied, i.version):
		return unhealthy("an earlier version was put back in its place")
	case there.Spec.Replicas == 0:
		return unhealthy("it is scaled to no replicas: kubectl scale")
	}
	return i.explain(ctx)
}

func unhealthy(format string, args ...any) error {
	return fault.New(fault.Unavailable, "agent_unhealthy", format, args...)
}

// isMissing counts a look that found nothing.
func (i *instance) isMissing() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.missing++; i.missing == looksToEnd {
		i.end("its Deployment was deleted in the cluster")
	}
	return unhealthy("there is no Deployment of it in the cluster")
}

// end says why the run ended, once; i.mu is held.
func (i *instance) end(reason string) {
	select {
	case <-i.done:
	default:
		i.reason = reason
		close(i.done)
	}
}

// explain returns why no pod of the version is ready, in Kubernetes's words.
func (i *instance) explain(ctx context.Context) error {
	all, err := i.driver.podsOf(ctx, i.called())
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Metadata.Annotations[noteVersion] != i.version || p.Metadata.Deletion != "" {
			continue
		}
		if why := p.why(); why != "" {
			return unhealthy("pod %s: %s", p.Metadata.Name, name.Clip(name.Printable(why), 600))
		}
	}
	return unhealthy("no pod of it is ready")
}

// why says what keeps a pod from being ready; "" if nothing is known.
func (p pod) why() string {
	for _, c := range p.Status.Containers {
		switch {
		case c.State.Waiting != nil && c.Last.Terminated != nil:
			return fmt.Sprintf("%s after exit code %d (%s), %d restarts", c.State.Waiting.Reason, c.Last.Terminated.Code, c.Last.Terminated.Reason, c.Restarts)
		case c.State.Waiting != nil && c.State.Waiting.Message != "":
			return c.State.Waiting.Reason + ": " + c.State.Waiting.Message
		case c.State.Waiting != nil:
			return c.State.Waiting.Reason
		case c.State.Terminated != nil:
			return fmt.Sprintf("ended with exit code %d (%s)", c.State.Terminated.Code, c.State.Terminated.Reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status == "False" && c.Message != "" {
			return c.Reason + ": " + c.Message
		}
	}
	return p.Status.Message
}

// Done implements fleet.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Reason implements fleet.Instance.
func (i *instance) Reason() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reason
}

// Stop implements fleet.Instance. If other versions of the agent run, the pods
// are theirs, or become so again if this version did not get that far. Otherwise the
// pods end. If the API server does not answer, they are left to [Driver.Sweep].
func (i *instance) Stop(ctx context.Context) {
	d, w := i.driver, i.run.Agent.Workload()
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(afterwards, cancel) })()
	d.mu.Lock()
	d.runs[w] = slices.DeleteFunc(d.runs[w], func(other *instance) bool { return other == i })
	others := d.runs[w]
	if len(others) == 0 {
		delete(d.runs, w)
	}
	d.mu.Unlock()
	var err error
	if len(others) > 0 {
		err = i.putBack(late, others[len(others)-1])
	} else {
		err = i.takeDown(late, ctx.Done())
	}
	if err != nil {
		d.Log.Error("an agent may still run in the cluster", "agent", w.String(), "version", i.run.Agent.Version, "err", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.end("as desired")
}

// putBack makes the cluster have the other version, if it has this one.
func (i *instance) putBack(ctx context.Context, other *instance) error {
	there, err := i.driver.own(ctx, i.at())
	if err != nil || there.Annotations[noteVersion] != i.version {
		return err
	}
	return i.driver.apply(ctx, other.run, true)
}

// takeDown deletes the Deployment, if it is of this version or an earlier one, and
// waits for its pods; from over on they are given no more time.
func (i *instance) takeDown(ctx context.Context, over <-chan struct{}) error {
	d := i.driver
	there, err := d.own(ctx, i.at())
	if err != nil || there.UID == "" || later(there.Annotations[noteVersion], i.version) {
		return err
	}
	if err := d.Client.Delete(ctx, i.at(), there.UID, false); err != nil {
		return err
	}
	for {
		left, err := d.podsOf(ctx, i.called())
		if err == nil && len(left) == 0 {
			return nil
		}
		next := time.NewTimer(podsEvery)
		select {
		case <-next.C:
			continue
		case <-over:
			next.Stop()
		}
		for _, p := range left {
			err = errors.Join(err, d.Client.Delete(ctx, kube.Object{Kind: pods, Namespace: d.Namespace, Name: p.Metadata.Name}, p.Metadata.UID, true))
		}
		return err
	}
}

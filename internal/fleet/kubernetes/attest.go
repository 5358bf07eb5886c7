package kubernetes

import (
	"net/http"
	"strings"

	"github.com/deputy-id/deputy/internal/attest"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
)

// Attest implements [attest.Attestor] for the pods that the driver runs: it has the
// API server review the token that the kubelet gave them. A service account is the
// workload for which the driver made it: its name says that, by a digest, and its
// annotation has to say the same.
//
// What only looks like a token of such a pod may be one of another cluster: it is
// left to whoever vouches for that.
func (d *Driver) Attest(r *http.Request, _ []byte) (attest.Proof, bool, error) {
	token := attest.Bearer(r)
	_, subject := jwt.Claimed(token)
	namespace, account, ok := attest.ParseAccount(subject)
	if !ok || namespace != d.Namespace || !strings.HasPrefix(account, namePrefix) {
		return attest.Proof{}, false, nil
	}
	ctx := r.Context()
	reviewed, err := attest.Review(ctx, d.Client.Post, secret.FromString(token), d.Audience)
	switch {
	case fault.Is(err, fault.Unauthenticated):
		return attest.Proof{}, false, nil
	case err != nil:
		return attest.Proof{}, true, err
	case reviewed.Namespace != namespace || reviewed.Name != account || reviewed.Pod == "":
		return attest.Proof{}, true, notOurs()
	}
	made, err := d.own(ctx, kube.Object{Kind: serviceAccounts, Namespace: namespace, Name: account})
	if fault.Is(err, fault.Invalid) {
		err = notOurs()
	}
	if err != nil {
		return attest.Proof{}, true, err
	}
	pool, called, _ := strings.Cut(made.Annotations[noteWorkload], "/")
	w := name.Workload{Pool: pool, Name: called}
	if made.UID != reviewed.UID || account != ObjectName(d.TrustDomain, w) {
		return attest.Proof{}, true, notOurs()
	}
	return attest.Proof{Workload: w, Method: attest.MethodKubernetes, ID: reviewed.Subject() + "/" + reviewed.Pod}, true, nil
}

func notOurs() error {
	return fault.New(fault.Unauthenticated, "proof_unmapped", "the service account is not that of a pod that this Deputy runs")
}

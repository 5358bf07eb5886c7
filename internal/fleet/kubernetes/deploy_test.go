package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

const installation = "../../../deploy/kubernetes"

// document is one object of the installation.
type document struct {
	file       string
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct{ Name, Namespace string }
	json       []byte
}

// documents returns the objects of a file.
func documents(t *testing.T, file string) []document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(installation, file))
	if err != nil {
		t.Fatal(err)
	}
	var all []document
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var content map[string]any
		err := d.Decode(&content)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		o := document{file: file}
		if o.json, err = json.Marshal(content); err == nil {
			err = json.Unmarshal(o.json, &o)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
}

func (d document) decode(t *testing.T, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(d.json))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Errorf("%s: %s %s: %v", d.file, d.Kind, d.Metadata.Name, err)
	}
}

// driverRole returns the role of the driver, and who has it.
func driverRole(t *testing.T) []document {
	return slices.DeleteFunc(documents(t, "rbac.yaml"), func(d document) bool { return d.Kind == "ServiceAccount" })
}

// All of the installation is what Kubernetes's own types have, nothing is left out
// of it, and no pod may do what pods need not.
func TestInstallation(t *testing.T) {
	var kustomization struct {
		Resources  []string
		Images     []struct{ Name string }
		ConfigMaps []struct{ Name string } `json:"configMapGenerator"`
	}
	if err := json.Unmarshal(documents(t, "kustomization.yaml")[0].json, &kustomization); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(installation, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(kustomization.Resources)+1 {
		t.Errorf("%v are there, and %v in kustomization.yaml", files, kustomization.Resources)
	}
	namespaces := map[string]bool{}
	for _, file := range kustomization.Resources {
		for _, d := range documents(t, file) {
			if d.Kind == "Namespace" {
				namespaces[d.Metadata.Name] = true
			} else if !namespaces[d.Metadata.Namespace] && !strings.HasPrefix(d.Kind, "Cluster") {
				t.Errorf("%s %s is in no namespace of the installation", d.Kind, d.Metadata.Name)
			}
			switch d.APIVersion + " " + d.Kind {
			case "v1 Namespace":
				var n corev1.Namespace
				d.decode(t, &n)
				if n.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
					t.Errorf("namespace %s takes any pod", n.Name)
				}
			case "v1 ServiceAccount":
				d.decode(t, &corev1.ServiceAccount{})
			case "v1 Service":
				d.decode(t, &corev1.Service{})
			case "rbac.authorization.k8s.io/v1 Role":
				d.decode(t, &rbacv1.Role{})
			case "rbac.authorization.k8s.io/v1 RoleBinding":
				d.decode(t, &rbacv1.RoleBinding{})
			case "rbac.authorization.k8s.io/v1 ClusterRole":
				d.decode(t, &rbacv1.ClusterRole{})
			case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
				d.decode(t, &rbacv1.ClusterRoleBinding{})
			case "networking.k8s.io/v1 NetworkPolicy":
				d.decode(t, &networkingv1.NetworkPolicy{})
			case "policy/v1 PodDisruptionBudget":
				d.decode(t, &policyv1.PodDisruptionBudget{})
			case "apps/v1 Deployment":
				var v appsv1.Deployment
				d.decode(t, &v)
				restricted(t, v.Spec.Template)
				if *v.Spec.Replicas != 2 || v.Spec.Template.Spec.Containers[0].Image != kustomization.Images[0].Name ||
					v.Spec.Template.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name != kustomization.ConfigMaps[0].Name {
					t.Errorf("image or settings are not those of kustomization.yaml, or %d replicas", *v.Spec.Replicas)
				}
			case "apps/v1 StatefulSet":
				var v appsv1.StatefulSet
				d.decode(t, &v)
				restricted(t, v.Spec.Template)
			default:
				t.Errorf("%s: nobody checks %s %s", file, d.APIVersion, d.Kind)
			}
		}
	}
}

// restricted fails for a pod that the Pod Security Standard "restricted" does not
// admit, or that has no bounds.
func restricted(t *testing.T, p corev1.PodTemplateSpec) {
	t.Helper()
	yes := func(b *bool) bool { return b != nil && *b }
	s := p.Spec.SecurityContext
	if s == nil || !yes(s.RunAsNonRoot) || s.RunAsUser == nil || *s.RunAsUser == 0 || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod %v: security context %+v", p.Labels, s)
	}
	for _, c := range p.Spec.Containers {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !yes(s.ReadOnlyRootFilesystem) ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("container %s: security context %+v", c.Name, s)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() || c.ReadinessProbe == nil || c.LivenessProbe == nil {
			t.Errorf("container %s has no bounds, or no probes", c.Name)
		}
		for _, v := range c.Env {
			if low := strings.ToLower(v.Name); v.Value != "" && !strings.HasSuffix(low, "_file") && (strings.Contains(low, "password") || strings.Contains(low, "key")) {
				t.Errorf("container %s has %s in clear text", c.Name, v.Name)
			}
		}
	}
}

// The role has what the driver uses, and nothing else.
func TestLeastPrivilege(t *testing.T) {
	c, server := inMemory(t)
	for _, test := range scenarios() {
		test(t, c)
	}
	logs(t, c, server)
	var allowed []string
	for _, d := range driverRole(t) {
		if d.Kind != "Role" && d.Kind != "ClusterRole" { // which have the same rules
			continue
		}
		var role rbacv1.Role
		d.decode(t, &role)
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					allowed = append(allowed, verb+" "+rule.APIGroups[0]+"/"+resource)
				}
			}
		}
	}
	// Server-side apply of what is not there yet needs create as well (a real API server tells).
	used := server.Asked()
	for _, u := range server.Asked() {
		if what, ok := strings.CutPrefix(u, "patch "); ok {
			used = append(used, "create "+what)
		}
	}
	slices.Sort(used)
	slices.Sort(allowed)
	if diff := cmp.Diff(used, allowed); diff != "" {
		t.Errorf("role (-used +allowed):\n%s", diff)
	}
}

package kube_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/kube"
	"github.com/deputy-id/deputy/internal/kube/kubetest"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A kubeconfig leads to the server; one that means something else than what is
// done with it is refused.
func TestKubeconfig(t *testing.T) {
	server := kubetest.New(t)
	good := string(server.Kubeconfig())
	c, err := kube.ReadKubeconfig(write(t, good), "")
	if err != nil || c.Namespace != "home" {
		t.Fatalf("namespace %q, %v", c.Namespace, err)
	}
	client := kube.New(c)
	defer client.Close()
	if err := client.Get(t.Context(), account, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("what is not there: %v", err)
	}
	for name, change := range map[string][2]string{
		"no such context":    {"current-context: test", "current-context: other"},
		"no such cluster":    {"cluster: test,", "cluster: other,"},
		"no such user":       {"user: test,", "user: other,"},
		"plain http":         {"https://", "http://"},
		"a path":             {"\", certificate", "/path\", certificate"},
		"unverified":         {"{server:", "{insecure-skip-tls-verify: true, server:"},
		"a proxy":            {"{server:", "{proxy-url: 'http://p', server:"},
		"a plugin":           {"{token:", "{exec: {command: aws}, token:"},
		"a provider":         {"{token:", "{auth-provider: {name: gcp}, token:"},
		"a password":         {"{token:", "{username: u, token:"},
		"impersonation":      {"{token:", "{as: root, token:"},
		"half a certificate": {"{token:", "{client-key-data: " + base64.StdEncoding.EncodeToString([]byte("key")) + ", token:"},
		"no base64":          {"{token:", "{client-certificate-data: '%', token:"},
		"no file":            {"{token:", "{client-certificate: nowhere, token:"},
		"no authority":       {"certificate-authority-data: ", "certificate-authority-data: aGVsbG8= # "},
		"no YAML":            {"contexts: [", "contexts: ["},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if name == "no authority" {
			text = good[:strings.Index(good, "certificate-authority-data")] + "certificate-authority-data: aGVsbG8=}}]\nusers: [{name: test, user: {token: t}}]\n"
		}
		if name == "no YAML" {
			text = "contexts: ["
		}
		if _, err := kube.ReadKubeconfig(write(t, text), ""); !fault.HasCode(err, "kubeconfig_unusable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := kube.ReadKubeconfig(t.TempDir(), ""); !fault.HasCode(err, "kubeconfig_unreadable") {
		t.Errorf("a directory: %v", err)
	}
}

func TestInClusterOutside(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := kube.InCluster(); !fault.HasCode(err, "kubernetes_no_cluster") {
		t.Errorf("outside a cluster: %v", err)
	}
}

// FuzzKubeconfig: what is accepted has one server, over https.
func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte("current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: 'https://h:1'}}]\nusers: [{name: a, user: {token: t}}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := kube.ReadKubeconfig(file, "")
		if err == nil && !strings.HasPrefix(c.Server, "https://") {
			t.Errorf("server %q", c.Server)
		}
		if err != nil && fault.As(err).Code == "internal" {
			t.Errorf("no fault: %v", err)
		}
	})
}

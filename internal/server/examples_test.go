package server_test

import (
	"bufio"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/sandbox/feishu"
)

var linkInAnswer = regexp.MustCompile(`"authUri": ?"([^"]+)"`)

// consentInBetween asks an agent that says how a document begins: the first time
// its user agrees in the middle of the answer, which goes on; the second time
// nobody is asked.
func (w *world) consentInBetween(agent string) {
	w.t.Helper()
	zhangsan := w.person("zhangsan").logIn()
	bearer := "Bearer " + zhangsan.accessToken()
	prompt := fmt.Sprintf(`{"prompt":"How does https://acme.feishu.cn/docx/%s begin?"}`, feishu.DefaultDocuments()[0].ID)
	want := "It begins: " + feishu.DefaultDocuments()[0].Title
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.ingress+"/agents/default/"+agent+"/invoke", strings.NewReader(prompt))
	must(w.t, err)
	r.Header.Set("Authorization", bearer)
	res, err := noRedirects.Do(r)
	must(w.t, err)
	defer func() { _ = res.Body.Close() }() // read to its end
	var told strings.Builder
	asked := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		told.WriteString(lines.Text() + "\n")
		if link := linkInAnswer.FindStringSubmatch(lines.Text()); link != nil {
			asked++
			zhangsan.authorize(link[1])
		}
	}
	if asked != 1 || !strings.Contains(told.String(), want) {
		w.t.Fatalf("asked %d times:\n%s", asked, told.String())
	}
	if a := w.invoke(agent, prompt, http.Header{"Authorization": {bearer}}); linkInAnswer.MatchString(a.body) || !strings.Contains(a.body, want) {
		w.t.Fatalf("the second question: %d\n%s", a.status, a.body)
	}
	if token := w.ask(w.wat(agent, "zhangsan"), "feishu_oauth").Credential.AccessToken; strings.Contains(w.log.String(), token) || strings.Contains(told.String(), token) {
		w.t.Error("the token is in a log or in the answer")
	}
}

// TestPythonAgent launches the example that has no SDK.
func TestPythonAgent(t *testing.T) {
	w := newWorld(t, nil)
	dir, err := filepath.Abs("../../examples/python-agent")
	must(t, err)
	w.deploy("python-agent", dir, "agent.py", map[string]string{"FEISHU_API_BASE": w.party.URL, "FEISHU_CREDENTIAL_PROVIDER": "feishu_oauth"})
	w.consentInBetween("python-agent")
	bearer := http.Header{"Authorization": {"Bearer " + w.person("lisi").logIn().accessToken()}}
	for body, code := range map[string]string{"{": "prompt_missing", "[]": "prompt_missing", `{"prompt":1}`: "prompt_missing"} {
		if a := w.invoke("python-agent", body, bearer); a.status != http.StatusBadRequest || !strings.Contains(a.body, code) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	// Feishu shows the document to its owner only.
	prompt := fmt.Sprintf(`{"prompt":"/docx/%s"}`, feishu.DefaultDocuments()[0].ID)
	w.person("lisi").logIn().authorize(w.link(w.wat("python-agent", "lisi"), readDoc).URL)
	if a := w.invoke("python-agent", prompt, bearer); !strings.Contains(a.body, "document_unreadable") {
		t.Errorf("another's document: %d %s", a.status, a.body)
	}
}

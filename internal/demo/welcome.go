package demo

import (
	"path/filepath"
	"strings"
)

// welcome tells a person what to do now.
func (d *demo) welcome(w world) {
	d.printf(`
Everything runs. Open the chat and ask for a document:

  ➜  %s

  1. Log in as one of these users of the pool %q:

`, w.chat, userPool)
	for _, u := range demoUsers() {
		d.printf("       %-10s password  %s   (%s)\n", u.userName, d.state.Users[u.userName], u.displayName)
	}
	d.printf(`
  2. Send:  请为我总结这篇文档的内容：%s
            (a document of 张三; the agent asks for your authorization, once)
  3. Click the link, log in at the Feishu sandbox as the same person, agree.
     Sandbox users: zhangsan, lisi, alice; each has the password %q.
  4. The answer goes on by itself. A second document needs no click:
            Summarize %s
     One of 李四, which 张三 may not read:
            %s
  5. Send:  %s    and the next request asks again. So does  %s

  OIDC discovery URL  %s
  Service endpoint    %s
  Feishu sandbox      %s
  Audit log           %s audit list --follow --url %s --data %s
  Logs                %s

Press Ctrl-C to stop.
`, documentURL(docZhangsan), sandboxPassword, documentURL(docZhangsanSecond), documentURL(docLisi), clearCredentials, askAnew,
		w.discovery, w.agent.Endpoint, w.sandbox, program(d.Executable), w.identity, filepath.Join(d.Data, "deputy"), filepath.Join(d.Data, "logs"))
}

// program is how a person starts the program again. What `go run` built is in a
// temporary directory, and gone when the demo is.
func program(executable string) string {
	if strings.Contains(filepath.ToSlash(executable), "/go-build") {
		return "go run ./cmd/deputy"
	}
	return executable
}

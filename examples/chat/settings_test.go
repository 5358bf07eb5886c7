package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseEnv(t *testing.T) {
	text := "\ufeff# comment\r\n\r\nA=1\r\n export B = two words # and a comment\nC='single # $X \\n'\nD=\"double \\\"q\\\" \\\\ \\n\" # c\nE=\nF=a#b=c\nG=#\n"
	got, err := parseEnv(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{{"A", "1", 3}, {"B", "two words", 4}, {"C", `single # $X \n`, 5}, {"D", "double \"q\" \\ \n", 6}, {"E", "", 7}, {"F", "a#b=c", 8}, {"G", "", 9}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
	for in, words := range map[string]string{
		"A":                         "line 1: want NAME=value",
		"\n1A=x":                    "line 2: want NAME=value",
		"A B=x":                     "want NAME=value",
		"=x":                        "want NAME=value",
		"A='hidden":                 "not closed",
		"A=\"hidden":                "not closed",
		"A=\"hidden\\":              "not closed",
		"A='hid'den":                "behind the closing quote",
		`A="\q"`:                    "unknown escape",
		"A=1\nA=2":                  "second time (first in line 1)",
		"A=\x00":                    "UTF-8",
		"A=\xff":                    "UTF-8",
		strings.Repeat("#", 70<<10): "64 KiB",
	} {
		_, err := parseEnv(in)
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "hid") {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

func FuzzParseEnv(f *testing.F) {
	f.Add("A=1\nB='x' # y\nexport C=\"\\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseEnv(text)
		if err != nil {
			return
		}
		// What was read, written in double quotes, reads the same.
		var out strings.Builder
		escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
		for _, e := range entries {
			out.WriteString(e.key + `="` + escape.Replace(e.value) + "\"\n")
		}
		again, err := parseEnv(out.String())
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%v in %q", err, out.String())
		}
		for i := range again {
			if again[i].key != entries[i].key || again[i].value != entries[i].value {
				t.Fatalf("%v became %v", entries[i], again[i])
			}
		}
	})
}

// good is a complete configuration.
func good() map[string]string {
	return map[string]string{
		setIssuer: "http://localhost:8080/userpool/demo", setClientID: "id", setSecret: "s3cret-value",
		setRedirect: "http://127.0.0.1:8082/callback", setAgentName: "agent", setEndpoint: "http://127.0.0.1:8090/agents/default/doc/",
	}
}

func load(t *testing.T, file string, env map[string]string) (settings, string, error) {
	t.Helper()
	var log bytes.Buffer
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "settings.env")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Chdir(t.TempDir())
	}
	s, err := loadSettings(path, func(k string) (string, bool) { v, ok := env[k]; return v, ok }, slog.New(slog.NewTextHandler(&log, nil)))
	return s, log.String(), err
}

func TestSettingsFromEnvironment(t *testing.T) {
	s, log, err := load(t, "", good())
	if err != nil || log != "" {
		t.Fatal(err, log)
	}
	if s.listen != "127.0.0.1:8082" || s.agentEndpoint != "http://127.0.0.1:8090/agents/default/doc" || strings.Join(s.scopes, " ") != defaultScopes {
		t.Errorf("got %+v", s)
	}
	if len(s.examples) != 1 || s.examples[0].URL != documentSite+defaultExamples {
		t.Errorf("examples %v", s.examples)
	}
}

func TestEnvironmentWinsAloud(t *testing.T) {
	file := ""
	for k, v := range good() {
		file += k + "=" + v + "\n"
	}
	file += "SOME_OTHER_TOOL=1\nCHAT_EXAMPLES=ABC Product plan, https://x.feishu.cn/docx/DEF\nDEPUTY_URL=https://id.example.com/\n"
	s, log, err := load(t, file, map[string]string{setSecret: "another-secret", setClientID: "id"})
	if err != nil {
		t.Fatal(err)
	}
	if s.clientSecret.reveal() != "another-secret" {
		t.Error("the environment does not win")
	}
	if strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "setting="+setSecret) || !strings.Contains(log, "settings.env, line") {
		t.Errorf("log: %s", log)
	}
	if strings.Contains(log, "another-secret") || strings.Contains(log, "s3cret-value") {
		t.Error("a secret is in the log")
	}
	if diff := cmp.Diff([]example{{documentSite + "ABC", "Product plan"}, {"https://x.feishu.cn/docx/DEF", ""}}, s.examples); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"http://localhost:8080", "https://id.example.com:443"}, s.linkOrigins); diff != "" {
		t.Error(diff)
	}
}

func TestBadSettingsNameTheSettingAndItsSource(t *testing.T) {
	for name, test := range map[string]struct {
		key, value string // "-" removes it
		words      []string
	}{
		"missing":            {setIssuer, "-", []string{setIssuer + " is not set", ".env.example"}},
		"empty":              {setClientID, "", []string{setClientID + " is empty", "the environment variable " + setClientID}},
		"missing secret":     {setSecret, "-", []string{setSecret}},
		"not a URL":          {setIssuer, "localhost:8080", []string{setIssuer, "must be a URL"}},
		"discovery URL":      {setIssuer, "http://localhost:8080/userpool/demo/.well-known/openid-configuration", []string{setIssuer, "leave out"}},
		"plain http":         {setIssuer, "http://id.example.com/", []string{setIssuer, "use https"}},
		"query":              {setIssuer, "https://id.example.com/?a", []string{setIssuer, "without user name, query"}},
		"user":               {setIssuer, "https://u:hidden@id.example.com/", []string{setIssuer, "without user name"}},
		"wrong path":         {setRedirect, "http://127.0.0.1:8082/cb", []string{setRedirect, "must end in /callback"}},
		"redirect http":      {setRedirect, "http://chat.example.com/callback", []string{setRedirect, "use https"}},
		"https needs listen": {setRedirect, "https://chat.example.com/callback", []string{setRedirect, setListen}},
		"bad listen":         {setListen, "8082", []string{setListen, "host:port"}},
		"with invoke":        {setEndpoint, "http://127.0.0.1:8090/x/invoke/", []string{setEndpoint, "/invoke"}},
		"endpoint":           {setEndpoint, "ftp://x", []string{setEndpoint, "must be a URL"}},
		"no openid":          {setScopes, "profile email", []string{setScopes, "openid"}},
		"deputy":             {setDeputy, "nonsense", []string{setDeputy, "must be a URL"}},
		"examples":           {setExamples, "javascript://x", []string{setExamples}},
	} {
		t.Run(name, func(t *testing.T) {
			env := good()
			env[test.key] = test.value
			if test.value == "-" {
				delete(env, test.key)
			}
			_, _, err := load(t, "", env)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range test.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not contain %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "s3cret-value") || strings.Contains(err.Error(), "hidden") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestSettingsFileProblems(t *testing.T) {
	for file, words := range map[string]string{
		"OAUTH2_CLIENT_IDD=x": "line 1: unknown setting OAUTH2_CLIENT_IDD",
		"\nAGENT_NAME='x":     "line 2: AGENT_NAME",
	} {
		if _, _, err := load(t, file, good()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", file, err)
		}
	}
	if _, err := loadSettings("/nowhere/chat.env", os.LookupEnv, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "/nowhere/chat.env") {
		t.Errorf("missing file: %v", err)
	}
	if _, log, err := load(t, "", map[string]string{}); err == nil || strings.Count(err.Error(), "is not set") != 6 || log != "" {
		t.Errorf("nothing set: %v", err)
	}
}

func TestEndpointWithoutTLSIsSaidAloud(t *testing.T) {
	env := good()
	env[setEndpoint] = "http://ingress.internal/agents/default/doc"
	if _, log, err := load(t, "", env); err != nil || !strings.Contains(log, setEndpoint) {
		t.Errorf("%v, log %s", err, log)
	}
}

func TestExampleFileIsComplete(t *testing.T) {
	text, err := os.ReadFile(".env.example")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = load(t, string(text), map[string]string{setClientID: "id", setSecret: "secret"})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{setIssuer, setClientID, setSecret, setRedirect, setScopes, setAgentName, setEndpoint, setDeputy, setListen, setExamples} {
		if !strings.Contains(string(text), name+"=") {
			t.Errorf("%s is missing", name)
		}
	}
}

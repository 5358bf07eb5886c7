package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// What was a text stays one, whatever it looks like: a variable's value that YAML
// would take for a number would not be taken by an API server.
func TestWriteYAML(t *testing.T) {
	document := `{"b":1,"a":{"texts":["1.10","yes","on","0755","true","","a\nb\n","null","2026-01-01","1e3","~"," x","- y","# z","{","*a","!b","a: b","\u0007","汉字"],"empty":{},"none":[],"truth":false}}`
	var out bytes.Buffer
	if err := writeYAML(&out, []json.RawMessage{json.RawMessage(document), json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if begin := "b: 1\na:\n  texts:\n    - \"1.10\"\n"; !bytes.HasPrefix(out.Bytes(), []byte(begin)) {
		t.Errorf("not as people write it, or not in order:\n%s", out.String())
	}
	var want, got map[string]any
	if err := json.Unmarshal([]byte(document), &want); err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(&out)
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want["b"] = 1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

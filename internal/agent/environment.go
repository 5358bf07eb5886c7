package agent

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// environment adds the variables of a runtime_envs mapping to env. Values are
// taken as they are written: 1.10 stays "1.10". No complaint quotes a value.
func (p *parser) environment(e entry, env Environment) error {
	fields, err := e.mapping()
	if err != nil {
		return err
	}
	for _, variable := range slices.Sorted(maps.Keys(fields)) {
		f := fields[variable]
		switch {
		case !variableName.MatchString(variable):
			return f.fault("agentkit_invalid", "%s is not the name of an environment variable", f.path).
				WithFix("use letters, digits and '_', not beginning with a digit")
		case reserved(variable):
			return f.fault("agentkit_reserved_env", "%s is set by the runtime and cannot be overridden", f.path).WithFix("remove it")
		case f.value.Kind != yaml.ScalarNode:
			return f.fault("agentkit_invalid", "%s must be a single value", f.path)
		case f.null():
			env[variable] = ""
			continue
		case strings.ContainsRune(f.value.Value, 0) || len(f.value.Value) > maxVariableBytes:
			return f.fault("agentkit_invalid", "%s holds a NUL byte or more than %d bytes", f.path, maxVariableBytes)
		}
		if looksSecret(variable) && f.value.Value != "" {
			p.warn(f.path, f.line, "it looks like a secret; environment variables are visible to every process of the agent and are stored in clear text")
		}
		env[variable] = f.value.Value
	}
	if len(env) > maxVariables {
		return e.fault("agentkit_invalid", "there are more than %d environment variables", maxVariables)
	}
	return nil
}

// reserved reports whether the runtime sets the variable itself, in any letter
// case: what an agent believes about itself must come from the runtime.
func reserved(variable string) bool {
	v := strings.ToUpper(variable)
	return slices.Contains([]string{"PORT", "HOME", "TMPDIR"}, v) || strings.HasPrefix(v, "DEPUTY_")
}

// looksSecret reports whether a word of the variable's name says that its value
// is a secret. FEISHU_CREDENTIAL_PROVIDER and MAX_TOKENS are names of things
// that are none.
func looksSecret(variable string) bool {
	for word := range strings.SplitSeq(strings.ToUpper(variable), "_") {
		for _, end := range []string{"KEY", "SECRET", "TOKEN", "PASSWORD", "PASSWD"} {
			if strings.HasSuffix(word, end) {
				return true
			}
		}
	}
	return false
}

package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	deputy "github.com/deputy-id/deputy/sdk"
)

// settings are what the environment says. They hold no secret of Feishu.
type settings struct {
	provider string // name of the credential provider in Deputy
	feishu   string // origin of Feishu's API
	model    modelSettings
}

// modelSettings name a chat model. Without a base there is none, and the agent
// answers by itself.
type modelSettings struct {
	base string // "https://api.openai.com/v1"
	name string
	key  deputy.Secret // may be empty for a model on this machine
}

func (m modelSettings) on() bool { return m.base != "" }

func loadSettings(getenv func(string) string) (settings, error) {
	s := settings{provider: getenv("FEISHU_CREDENTIAL_PROVIDER"), feishu: getenv("FEISHU_API_BASE")}
	if s.provider == "" {
		return s, fmt.Errorf("FEISHU_CREDENTIAL_PROVIDER is not set: name the credential provider under runtime_envs in agentkit.yaml")
	}
	if s.feishu == "" {
		s.feishu = "https://open.feishu.cn"
	}
	s.feishu = strings.TrimSuffix(s.feishu, "/")

	key := getenv("MODEL_API_KEY")
	if key == "" {
		key = getenv("OPENAI_API_KEY")
	}
	base := getenv("OPENAI_BASE_URL")
	if key == "" && base == "" {
		return s, nil
	}
	if base == "" {
		base = "https://api.openai.com/v1"
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return s, fmt.Errorf("OPENAI_BASE_URL is not an http or https URL")
	}
	if ip := net.ParseIP(u.Hostname()); key != "" && u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return s, fmt.Errorf("OPENAI_BASE_URL would carry the model's key in clear text to %s: use https", u.Host)
	}
	s.model = modelSettings{strings.TrimSuffix(base, "/"), getenv("MODEL_NAME"), deputy.NewSecret(key)}
	if s.model.name == "" {
		return s, fmt.Errorf("MODEL_NAME is not set: name the chat model of %s to use", u.Host)
	}
	return s, nil
}

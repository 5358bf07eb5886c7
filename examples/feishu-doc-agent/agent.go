package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	deputy "github.com/deputy-id/deputy/sdk"
)

const (
	toolRead  = "read_document"
	toolClear = "clear_credentials"
)

// agent is the assistant.
type agent struct {
	feishu deputy.Credential
	tools  []deputy.Tool
	model  *chatModel // nil: there is none
	memory *memory
	log    *slog.Logger
}

// newAgent declares the agent: two tools, one credential, one function that
// answers.
func newAgent(set settings, log *slog.Logger) *deputy.Agent {
	feishu := deputy.OAuth2(set.provider, readScope).At(set.feishu)
	docs := documents{base: set.feishu}

	read := deputy.NewTool(toolRead, "Reads the text of a Feishu document of the user.", docs.read, feishu)
	forget := deputy.NewTool(toolClear, "Withdraws this assistant's permission to read the user's Feishu documents. The next document needs a new authorization.",
		func(ctx context.Context, call *deputy.Call, _ struct{}) (string, error) {
			return "the credentials are cleared; the next document needs a new authorization", call.Clear(ctx, feishu)
		})

	a := &agent{feishu: feishu, tools: []deputy.Tool{read, forget}, memory: newMemory(), log: log}
	if set.model.on() {
		a.model = &chatModel{settings: set.model, http: &http.Client{Transport: http.DefaultTransport, CheckRedirect: noRedirect}}
	}
	return &deputy.Agent{Name: "feishu-doc-agent", Tools: a.tools, Respond: a.respond, Log: log}
}

// respond answers one message.
func (a *agent) respond(ctx context.Context, t *deputy.Turn) error {
	in := understand(t.Prompt)
	talk := a.memory.recall(t.Session)
	for _, link := range in.links {
		if id, err := documentID(link); err == nil { // the one named last is the last
			talk.Documents = append(slices.DeleteFunc(talk.Documents, func(d string) bool { return d == id }), id)
		}
	}
	defer func() { a.memory.keep(t.Session, talk) }()
	if a.model == nil {
		return a.answerOffline(ctx, t, in, &talk)
	}
	err := a.answerWithModel(ctx, t, in, &talk)
	var down *modelError
	if errors.As(err, &down) && !down.spoke && ctx.Err() == nil {
		a.log.WarnContext(ctx, "the language model failed; answering without it", "request", t.RequestID, "error", err)
		t.Say(in.lang.pick("（语言模型暂时没有响应，以下由内置的摘要功能回答。）\n\n", "(The language model does not answer right now; this is the built-in summarizer.)\n\n"))
		return a.answerOffline(ctx, t, in, &talk)
	}
	return err
}

// fetch reads a document, asking the user anew first if he wished so.
func (a *agent) fetch(ctx context.Context, t *deputy.Turn, link string) (document, error) {
	afresh := a.memory.wantsAfresh(t.Session.User)
	if afresh {
		if err := t.AskAgain(ctx, a.feishu); err != nil {
			return document{}, err
		}
	}
	var doc document
	err := t.Call(ctx, toolRead, readInput{link}, &doc)
	if afresh && err == nil {
		a.memory.wasAsked(t.Session.User)
	}
	return doc, err
}

// excuse says in words why something did not work. An error that no words help
// with goes up.
func (a *agent) excuse(ctx context.Context, t *deputy.Turn, l language, err error) error {
	text, ok := explain(err, l)
	if !ok {
		return err
	}
	a.log.InfoContext(ctx, "could not do what was asked", "request", t.RequestID, "error", err)
	t.Say(text)
	return nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

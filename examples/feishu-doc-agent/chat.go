package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	deputy "github.com/deputy-id/deputy/sdk"
)

const (
	chatTimeout  = 3 * time.Minute
	maxChatLine  = 1 << 20
	maxReplySize = 256 << 10 // of text and arguments together
	maxToolCalls = 8         // of one reply
)

// message is one message of the chat completions protocol.
type message struct {
	Role       string     `json:"role"` // system, user, assistant, tool
	Content    string     `json:"content"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type toolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"` // "function"
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // JSON, as text
}

// modelError is a failure of the language model, as opposed to one of the
// user's request.
type modelError struct {
	err   error
	spoke bool // part of an answer was out already
}

func (e *modelError) Error() string { return "language model: " + e.err.Error() }
func (e *modelError) Unwrap() error { return e.err }

// chatModel is a language model behind the chat completions protocol that
// OpenAI introduced and most others speak.
type chatModel struct {
	settings modelSettings
	http     *http.Client
}

// complete sends a conversation and returns the reply. Its text goes to say, as
// it arrives.
func (m *chatModel) complete(ctx context.Context, messages []message, tools []deputy.Tool, say func(string)) (message, error) {
	bounded, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	spoke := false
	reply, err := m.stream(bounded, messages, tools, func(s string) {
		spoke = true
		say(s)
	})
	if err != nil && ctx.Err() == nil {
		err = &modelError{err, spoke}
	}
	return reply, err
}

func (m *chatModel) stream(ctx context.Context, messages []message, tools []deputy.Tool, say func(string)) (message, error) {
	body, err := json.Marshal(struct {
		Model    string    `json:"model"`
		Messages []message `json:"messages"`
		Tools    []any     `json:"tools,omitempty"`
		Stream   bool      `json:"stream"`
	}{m.settings.name, messages, describe(tools), true})
	if err != nil {
		return message{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.settings.base+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return message{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	if !m.settings.key.Empty() {
		req.Header.Set("Authorization", "Bearer "+m.settings.key.Reveal())
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return message{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// Only the error's type: its message may repeat the conversation, or a part of the key.
		var refusal struct{ Error struct{ Type string } }
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		_ = json.Unmarshal(b, &refusal)
		return message{}, fmt.Errorf("status %d %s", resp.StatusCode, refusal.Error.Type)
	}
	return readReply(resp.Body, say)
}

func describe(tools []deputy.Tool) []any {
	var out []any
	for _, t := range tools {
		out = append(out, map[string]any{"type": "function", "function": map[string]any{
			"name": t.Name, "description": t.Description, "parameters": t.Parameters,
		}})
	}
	return out
}

// chunk is one event of a streamed reply.
type chunk struct {
	Choices []struct {
		Delta struct {
			Content   string `json:"content"`
			ToolCalls []struct {
				Index    int          `json:"index"`
				ID       string       `json:"id"`
				Function functionCall `json:"function"`
			} `json:"tool_calls"`
		} `json:"delta"`
		FinishReason string `json:"finish_reason"`
	} `json:"choices"`
	Error *struct {
		Type string `json:"type"`
	} `json:"error"`
}

// readReply puts a streamed reply together. Tool calls come in pieces: the first
// has the id and the name, all have a part of the arguments.
func readReply(r io.Reader, say func(string)) (reply message, err error) {
	var text strings.Builder
	reply.Role = "assistant"
	defer func() { reply.Content = text.String() }()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxChatLine)
	size, finished := 0, false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if data = strings.TrimSpace(data); !ok || data == "" {
			continue
		}
		if data == "[DONE]" {
			return reply, nil
		}
		var c chunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return reply, errors.New("an event is not JSON")
		}
		if c.Error != nil {
			return reply, fmt.Errorf("error in the stream: %s", c.Error.Type)
		}
		if size += len(data); len(c.Choices) == 0 {
			continue // a chunk with the usage
		}
		delta := c.Choices[0].Delta
		text.WriteString(delta.Content)
		say(delta.Content)
		for _, piece := range delta.ToolCalls {
			if piece.Index < 0 || piece.Index >= maxToolCalls {
				return reply, errors.New("too many tool calls")
			}
			for len(reply.ToolCalls) <= piece.Index {
				reply.ToolCalls = append(reply.ToolCalls, toolCall{Type: "function"})
			}
			call := &reply.ToolCalls[piece.Index]
			if piece.ID != "" {
				call.ID = piece.ID
			}
			call.Function.Name += piece.Function.Name
			call.Function.Arguments += piece.Function.Arguments
		}
		if text.Len() > maxReplySize || size > 64*maxReplySize {
			return reply, errors.New("the reply is too long")
		}
		finished = finished || c.Choices[0].FinishReason != ""
	}
	if err := lines.Err(); err != nil {
		return reply, err
	}
	if !finished {
		return reply, io.ErrUnexpectedEOF
	}
	return reply, nil
}

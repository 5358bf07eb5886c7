package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/apiclient"
	"github.com/deputy-id/deputy/internal/visitor"
	"github.com/deputy-id/deputy/internal/wire"
)

// chatTime bounds one answer, the person's consent included.
const chatTime = 2 * time.Minute

// message is one event of the chat application's stream (examples/chat).
type message struct {
	Type     string `json:"type"` // text, authorization, authorized, error, done
	Text     string `json:"text"`
	URL      string `json:"url"`
	Provider string `json:"provider"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	at       time.Time
}

// answer is what the agent said to one message.
type answer struct {
	text   string
	links  []message // requests for authorization
	took   time.Duration
	resume time.Time // when the first event after the last link came; zero without a link
}

// asked reports whether the user had to authorize.
func (a answer) asked() bool { return len(a.links) > 0 }

// errRefused is an HTTP status other than 200 of the chat application.
type errRefused struct {
	status int
	code   string
}

func (e *errRefused) Error() string { return fmt.Sprintf("the chat answered %d %s", e.status, e.code) }

// ask sends a message in the chat and reads the whole answer. When the agent
// asks for an authorization, consent (nil: that is an error) is called with the
// link while the stream is read on, as a person would in another tab.
func (p *person) ask(ctx context.Context, chatURL, text string, consent func(context.Context, string) error) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, chatTime)
	defer cancel()
	begin := time.Now()
	resp, err := p.post(ctx, chatURL, text)
	if err != nil {
		return answer{}, err
	}
	defer func() {
		cancel()              // first: the stream may be one that waits for a consent that will not come
		_ = resp.Body.Close() // only read
	}()

	consented := make(chan error, 1)
	var got answer
	stream := apiclient.NewEvents(resp.Body)
	for {
		m, err := nextMessage(stream)
		if err != nil && got.asked() {
			cancel() // the person need not finish
			if consentErr := <-consented; consentErr != nil {
				return got, consentErr
			}
		}
		if err != nil {
			return got, err
		}
		if got.asked() && got.resume.IsZero() && m.Type != "authorization" {
			got.resume = m.at
		}
		switch m.Type {
		case "text":
			got.text += m.Text
		case "authorization":
			if consent == nil {
				return got, errors.New("the agent asked for an authorization")
			}
			if got.links = append(got.links, m); len(got.links) > 1 {
				return got, errors.New("the agent asked for an authorization twice")
			}
			go func() {
				err := consent(ctx, m.URL)
				if err != nil {
					cancel() // nothing more will come
				}
				consented <- err
			}()
		case "error":
			return got, fmt.Errorf("the chat shows the error %s: %s", m.Code, m.Message)
		case "done":
			got.took = time.Since(begin)
			if got.asked() {
				return got, <-consented
			}
			return got, nil
		}
	}
}

func nextMessage(stream *apiclient.Events) (message, error) {
	event, err := stream.Next()
	if errors.Is(err, io.EOF) {
		return message{}, errors.New("the answer broke off")
	}
	if err != nil {
		return message{}, err
	}
	m := message{at: time.Now()}
	if err := wire.DecodeForeign(event.Data, &m); err != nil {
		return message{}, err
	}
	return m, nil
}

// post sends a message to the chat application's own API, as its page does.
func (p *person) post(ctx context.Context, chatURL, text string) (*http.Response, error) {
	body, err := json.Marshal(map[string]string{"message": text})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, chatURL+"/api/chat", strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Origin", chatURL)
	resp, err := p.HTTP.Do(req)
	if err != nil {
		return nil, visitor.Redacted(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close() // read to its bound
		var refusal struct {
			Error struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		if b, err := wire.ReadAll(resp.Body, visitor.MaxPage); err == nil {
			_ = json.Unmarshal(b, &refusal) // the status says enough
		}
		return nil, &errRefused{resp.StatusCode, refusal.Error.Code}
	}
	return resp, nil
}

package deputytest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"

	deputy "github.com/deputy-id/deputy/sdk"
)

// Answer is what an agent answered to one prompt.
type Answer struct {
	Text  string   // all that was said
	Tools []string // the tools that were called, in order
	Asked []string // ids of the authorizations that the user was shown a link for, in order
	Code  string   // why the turn failed; empty if it did not
	Error string   // the same in words
}

// Invoke sends a prompt of u's to an agent and returns what was answered. An agent
// without a client gets [Server.Client]. The error says what is wrong with the
// agent's declaration, or that it refused the request. For the zero user, the
// request is nobody's.
func (s *Server) Invoke(a *deputy.Agent, u deputy.User, prompt string) (Answer, error) {
	own := *a
	if own.Deputy == nil {
		own.Deputy = s.Client()
	}
	h, err := own.Handler()
	if err != nil {
		return Answer{}, err
	}
	body, err := json.Marshal(map[string]string{"prompt": prompt})
	if err != nil {
		return Answer{}, err
	}
	r := httptest.NewRequest("POST", "/invoke", strings.NewReader(string(body)))
	if own.Deputy.Direct {
		r.Header.Set("Authorization", "Bearer "+s.UserToken(u).Reveal())
	} else {
		r.Header.Set("WorkloadAccessToken", s.Mint(u).Reveal())
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 {
		return Answer{}, fmt.Errorf("deputytest: the agent answered %d: %s", w.Code, w.Body)
	}
	var got Answer
	lines := bufio.NewScanner(w.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := got.take([]byte(data)); err != nil {
				return got, err
			}
		}
	}
	return got, lines.Err()
}

func (a *Answer) take(event []byte) error {
	var e struct {
		Content struct {
			Parts []struct {
				Text string
				Call *struct {
					Name string
					Args struct {
						Config struct {
							Raw struct {
								Ref string `json:"resourceRef"`
							} `json:"rawAuthCredential"`
						} `json:"authConfig"`
					}
				} `json:"functionCall"`
			}
		}
		TurnComplete bool
		Error        string
		ErrorType    string `json:"error_type"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("deputytest: the agent sent what is no event: %w", err)
	}
	if e.ErrorType != "" {
		a.Code, a.Error = e.ErrorType, e.Error
	}
	for _, part := range e.Content.Parts {
		switch {
		case part.Call != nil && part.Call.Name == "adk_request_credential":
			a.Asked = append(a.Asked, part.Call.Args.Config.Raw.Ref)
		case part.Call != nil:
			a.Tools = append(a.Tools, part.Call.Name)
		case !e.TurnComplete: // which says everything once more
			a.Text += part.Text
		}
	}
	return nil
}

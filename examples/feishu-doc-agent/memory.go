package main

import (
	"sync"

	deputy "github.com/deputy-id/deputy/sdk"
)

const (
	maxConversations = 1000
	maxRemembered    = 12 // messages of one conversation
	maxDocuments     = 50 // documents of one conversation
)

// memory is what the agent remembers, in this process only: it forgets
// everything when it is restarted, and the oldest conversation when there are too
// many. Its keys hold the verified user, so nobody reads another's memory by
// naming the same session.
type memory struct {
	mu     sync.Mutex
	known  map[deputy.Session]*conversation
	order  []deputy.Session
	afresh map[deputy.User]bool
}

// conversation is what was said in one session.
type conversation struct {
	Messages  []message // of the user and of the agent; never a document's text
	Documents []string  // ids that the user named, oldest first
}

func newMemory() *memory {
	return &memory{known: map[deputy.Session]*conversation{}, afresh: map[deputy.User]bool{}}
}

// recall returns a copy of a conversation. Without a session id there is nothing
// to remember.
func (m *memory) recall(s deputy.Session) conversation {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.known[s]; c != nil && s.ID != "" {
		return conversation{append([]message(nil), c.Messages...), append([]string(nil), c.Documents...)}
	}
	return conversation{}
}

// keep remembers a conversation.
func (m *memory) keep(s deputy.Session, c conversation) {
	if s.ID == "" {
		return
	}
	if n := len(c.Messages) - maxRemembered; n > 0 {
		c.Messages = c.Messages[n:]
	}
	if n := len(c.Documents) - maxDocuments; n > 0 {
		c.Documents = c.Documents[n:]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[s] == nil {
		if len(m.order) == maxConversations {
			delete(m.known, m.order[0])
			m.order = m.order[1:]
		}
		m.order = append(m.order, s)
	}
	m.known[s] = &c
}

// askAfresh notes that a user wants to be asked anew, whatever Deputy still
// holds: he may want to choose another account.
func (m *memory) askAfresh(u deputy.User) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.afresh) >= maxConversations {
		clear(m.afresh) // he is asked anyway, because his permission was withdrawn
	}
	m.afresh[u] = true
}

func (m *memory) wantsAfresh(u deputy.User) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.afresh[u]
}

func (m *memory) wasAsked(u deputy.User) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.afresh, u)
}

package store

import (
	"context"
	"database/sql"
	"sync"
)

// maxPrepared bounds how many statements are kept prepared on one connection.
// The texts are the constants of this package, and the audit log's filters.
const maxPrepared = 400

// prepared is a database that keeps its statements prepared: on SQLite, where
// parsing costs as much as running. What talks to PostgreSQL does that itself.
type prepared struct {
	*sql.DB
	sqlite bool

	mu     sync.Mutex
	byText map[string]*sql.Stmt // nil: to be prepared when nobody has the connection
	wanted []string             // those that are nil
}

func keepPrepared(db *sql.DB, sqlite bool) *prepared {
	return &prepared{DB: db, sqlite: sqlite, byText: map[string]*sql.Stmt{}}
}

// find returns the prepared statement, or nil; then it is wanted.
func (p *prepared) find(text string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, known := p.byText[text]
	if !known && p.sqlite && len(p.byText) < maxPrepared {
		p.byText[text] = nil
		p.wanted = append(p.wanted, text)
	}
	return s
}

// prepareWanted prepares the statements that were asked for. The caller holds
// no connection: there may be only one.
func (p *prepared) prepareWanted(ctx context.Context) error {
	p.mu.Lock()
	wanted := p.wanted
	p.wanted = nil
	p.mu.Unlock()
	for _, text := range wanted {
		s, err := p.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.byText[text] = s
		p.mu.Unlock()
	}
	return nil
}

// QueryContext implements [querier].
func (p *prepared) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s := p.find(text); s != nil {
		return s.QueryContext(ctx, args...)
	}
	if err := p.prepareWanted(ctx); err != nil {
		return nil, err
	}
	return p.DB.QueryContext(ctx, text, args...)
}

// QueryRowContext implements [querier].
func (p *prepared) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s := p.find(text); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	// Without the statement it works as well, and a text that is wrong says so in the row.
	_ = p.prepareWanted(ctx)
	return p.DB.QueryRowContext(ctx, text, args...)
}

// txn is a transaction with the topics that its commit announces.
type txn struct {
	*sql.Tx
	on     *prepared
	topics []string // on every replica
	here   []string // in this process only
}

// begin starts a transaction.
func (p *prepared) begin(ctx context.Context) (*txn, error) {
	if err := p.prepareWanted(ctx); err != nil {
		return nil, err
	}
	tx, err := p.BeginTx(ctx, nil)
	return &txn{Tx: tx, on: p}, err
}

// ExecContext runs a statement that returns no rows.
func (tx *txn) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if s := tx.on.find(text); s != nil {
		return tx.StmtContext(ctx, s).ExecContext(ctx, args...)
	}
	return tx.Tx.ExecContext(ctx, text, args...)
}

// QueryContext implements [querier].
func (tx *txn) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s := tx.on.find(text); s != nil {
		return tx.StmtContext(ctx, s).QueryContext(ctx, args...)
	}
	return tx.Tx.QueryContext(ctx, text, args...)
}

// QueryRowContext implements [querier].
func (tx *txn) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s := tx.on.find(text); s != nil {
		return tx.StmtContext(ctx, s).QueryRowContext(ctx, args...)
	}
	return tx.Tx.QueryRowContext(ctx, text, args...)
}

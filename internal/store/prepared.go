package store

import (
	"context"
	"database/sql"
	"sync"

	"github.com/deputy-id/deputy/internal/audit"
)

// maxPrepared bounds the statements that are kept compiled. The program has
// fewer texts than that; beyond it they are compiled for each use.
const maxPrepared = 512

// prepared is a SQLite database that compiles each text once: that costs as much
// as running it. Every text is a constant of this package, so there are not
// many. The driver of PostgreSQL does the same by itself, so there texts are run
// as they are.
type prepared struct {
	*sql.DB
	asIs  bool
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// compiled returns the text's statement, or nil if there is none yet.
func (p *prepared) compiled(text string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stmts[text]
}

// compile returns the text's statement, or nil if the text is to be run as it
// is, which tells what is wrong with it. It takes a connection, so it must not
// be called while a transaction of the same goroutine has the only one.
func (p *prepared) compile(ctx context.Context, text string) *sql.Stmt {
	if p.asIs {
		return nil
	}
	if s := p.compiled(text); s != nil {
		return s
	}
	s, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.stmts[text]; first != nil || len(p.stmts) >= maxPrepared {
		_ = s.Close() // another was faster, or there are too many: nothing runs on this one
		return first
	}
	if p.stmts == nil {
		p.stmts = map[string]*sql.Stmt{}
	}
	p.stmts[text] = s
	return s
}

// QueryRowContext implements [querier].
func (p *prepared) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s := p.compile(ctx, text); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.DB.QueryRowContext(ctx, text, args...)
}

// QueryContext implements [querier].
func (p *prepared) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s := p.compile(ctx, text); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return p.DB.QueryContext(ctx, text, args...)
}

// txn is a transaction with the topics that its commit announces.
type txn struct {
	*sql.Tx
	db     *prepared
	wanted []string      // texts to compile afterwards, when the connection is free again
	topics []string      // on every replica
	here   []string      // in this process only
	noted  []audit.Entry // about what the changes brought with them
	stale  staleAnswers  // that its commit makes useless
}

// compiled returns the text's statement in the transaction, or nil if it is not
// compiled yet.
func (tx *txn) compiled(ctx context.Context, text string) *sql.Stmt {
	if tx.db.asIs {
		return nil
	}
	s := tx.db.compiled(text)
	if s == nil {
		tx.wanted = append(tx.wanted, text)
		return nil
	}
	return tx.StmtContext(ctx, s)
}

// ended compiles what the transaction had to run uncompiled.
func (tx *txn) ended(ctx context.Context) {
	for _, text := range tx.wanted {
		tx.db.compile(ctx, text)
	}
}

// ExecContext is that of [sql.Tx], on a compiled statement if there is one.
func (tx *txn) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if s := tx.compiled(ctx, text); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return tx.Tx.ExecContext(ctx, text, args...)
}

// QueryRowContext implements [querier].
func (tx *txn) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s := tx.compiled(ctx, text); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return tx.Tx.QueryRowContext(ctx, text, args...)
}

// QueryContext implements [querier].
func (tx *txn) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s := tx.compiled(ctx, text); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return tx.Tx.QueryContext(ctx, text, args...)
}

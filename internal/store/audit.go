package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
)

// auditTopic is rung when the audit log has grown.
const auditTopic = "audit"

// appendChunk is how many entries one statement inserts when there are many.
const appendChunk = 16

const auditColumns = 9

// The chain's head is one row.
const (
	takeHeadText = `UPDATE audit_head SET seq = seq + $1 WHERE id = 1 RETURNING seq, hash`
	moveHeadText = `UPDATE audit_head SET hash = $1 WHERE id = 1`
)

// appendText returns the statement that inserts n audit rows.
func appendText(n int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO audit (seq, action, outcome, provider, pool, workload, subject, leaf, hash) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($%d", i*auditColumns+1)
		for j := 1; j < auditColumns; j++ {
			fmt.Fprintf(&b, ", $%d", i*auditColumns+j+1)
		}
		b.WriteString(")")
	}
	return b.String()
}

// Audit keeps the audit chain; it implements [audit.Store].
type Audit struct{ DB *DB }

// AppendAudit implements [audit.Store].
func (s Audit) AppendAudit(ctx context.Context, entries []audit.Entry) error {
	return s.DB.transact(ctx, nil, entries...)
}

// appendAudit adds entries to the chain. The update of the single head row
// comes first: it makes concurrent appends, on any replica, queue for that row,
// so that sequence numbers and hashes have no gaps and no forks.
func (db *DB) appendAudit(ctx context.Context, tx *txn, entries ...audit.Entry) error {
	var seq int64
	var text string
	err := tx.StmtContext(ctx, db.takeHead).QueryRowContext(ctx, len(entries)).Scan(&seq, &text)
	if err != nil {
		return err
	}
	hash, ok := audit.ParseHash(text)
	if !ok {
		return fault.New(fault.Internal, "audit_chain_broken", "the head of the audit chain is not a hash")
	}
	seq -= int64(len(entries))
	args := make([]any, 0, len(entries)*auditColumns)
	for _, e := range entries {
		leaf, err := e.Encode()
		if err != nil {
			return err
		}
		seq++
		hash = hash.Next(seq, leaf)
		args = append(args, seq, e.Action, string(e.Outcome), e.Provider, e.Resource.Pool, e.Caller.Workload.String(), e.Caller.User.Subject, leaf, hash.String())
	}
	for len(args) > 0 {
		n, stmt := 1, db.appendOne
		if len(args) >= appendChunk*auditColumns {
			n, stmt = appendChunk, db.appendMany
		}
		if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, args[:n*auditColumns]...); err != nil {
			return err
		}
		args = args[n*auditColumns:]
	}
	if _, err := tx.StmtContext(ctx, db.moveHead).ExecContext(ctx, hash.String()); err != nil {
		return err
	}
	// Only here: a NOTIFY by every commit would make commits queue inside PostgreSQL. Who follows the log
	// on another replica looks again after a while.
	tx.here = append(tx.here, auditTopic)
	return nil
}

// AuditRecords implements [audit.Store].
func (s Audit) AuditRecords(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	order := "ASC"
	if f.Newest {
		order = "DESC"
	}
	where, args := `seq > $1`, []any{f.After}
	for _, c := range []struct{ column, value string }{
		{"action", f.Action}, {"outcome", string(f.Outcome)}, {"provider", f.Provider}, {"pool", f.Pool}, {"workload", f.Workload}, {"subject", f.Subject},
	} {
		if c.value != "" {
			args = append(args, c.value)
			where += fmt.Sprintf(" AND %s = $%d", c.column, len(args))
		}
	}
	if len(f.Actions) > 0 {
		var in []string
		for _, action := range f.Actions {
			args = append(args, action)
			in = append(in, fmt.Sprintf("$%d", len(args)))
		}
		where += " AND action IN (" + strings.Join(in, ", ") + ")"
	}
	args = append(args, min(max(f.Limit, 1), 1000))
	var list []audit.Record
	err := rows(ctx, s.DB.read, func(sc scanner) error {
		var r audit.Record
		var hash string
		if err := sc.Scan(&r.Seq, &r.Leaf, &hash); err != nil {
			return err
		}
		var ok bool
		if r.Hash, ok = audit.ParseHash(hash); !ok {
			return fault.New(fault.Internal, "audit_chain_broken", "the hash of audit record %d is not a hash", r.Seq)
		}
		list = append(list, r)
		return nil
	}, fmt.Sprintf(`SELECT seq, leaf, hash FROM audit WHERE %s ORDER BY seq %s LIMIT $%d`, where, order, len(args)), args...)
	if f.Newest {
		slices.Reverse(list)
	}
	return list, err
}

// Listen returns a channel that receives when this process has appended to the
// audit log; appends of other replicas are not announced.
func (s Audit) Listen() (<-chan struct{}, func()) { return s.DB.bell.listen(auditTopic) }

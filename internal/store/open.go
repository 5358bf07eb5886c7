// Package store keeps everything: one SQL text for SQLite and PostgreSQL.
//
// Each noun's Store interface is implemented by a small type of its own over
// one [DB]. A write checks its permit, makes its change and appends the permit's
// audit entry in one transaction.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/userpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database.
type DB struct {
	write *prepared // SQLite: one connection, so that writers queue here and not inside the engine
	read  *prepared // PostgreSQL: the same as write
	pg    *pgx.ConnConfig
	bell  *bell
	group group // of changes; not used on PostgreSQL, where they run side by side

	takeHead, moveHead    *sql.Stmt
	appendOne, appendMany *sql.Stmt
	findCredential        *sql.Stmt
	findDelegated         *sql.Stmt
	findStanding          *sql.Stmt

	// What is asked for with every request; nil on PostgreSQL.
	delegated *remembered[delegatedKey, delegated]
	pools     *remembered[string, userpool.Pool]
	clients   *remembered[clientKey, userpool.Client]
	standings *remembered[standingKey, time.Time]
}

// opTimeout bounds a transaction on PostgreSQL: one that takes longer is stuck.
const opTimeout = 15 * time.Second

// OpenSQLite opens, and if need be creates, the database deputy.db in dir.
func OpenSQLite(ctx context.Context, dir string) (*DB, error) {
	path := filepath.Join(dir, "deputy.db")
	// Made here, for its owner only: SQLite would ask the umask, and gives its other files the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unavailable(err)
	}
	if err := f.Close(); err != nil {
		return nil, unavailable(err)
	}
	open := func(query url.Values, conns int) (*sql.DB, error) {
		// 8 MB of pages for each connection: with a million grants, the inner pages of their indexes.
		for _, pragma := range []string{
			"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(10000)", "temp_store(MEMORY)", "wal_autocheckpoint(4000)", "cache_size(-8000)",
		} {
			query.Add("_pragma", pragma)
		}
		u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}
		db, err := sql.Open("sqlite", u.String())
		if err == nil {
			db.SetMaxOpenConns(conns)
			db.SetMaxIdleConns(conns)
		}
		return db, err
	}
	w, err := open(url.Values{"_txlock": {"immediate"}}, 1)
	if err != nil {
		return nil, unavailable(err)
	}
	r, err := open(url.Values{"_pragma": {"query_only(ON)"}}, 4)
	if err != nil {
		return nil, errors.Join(unavailable(err), w.Close())
	}
	db := &DB{write: &prepared{DB: w}, read: &prepared{DB: r}, bell: newBell()}
	db.delegated = newRemembered(10_000, func(_ delegatedKey, d delegated) string { return d.grant.ID })                   // about 10 MB
	db.pools = newRemembered(100, func(pool string, _ userpool.Pool) string { return pool })                               // at most 13 MB, if each has a logo
	db.clients = newRemembered(10_000, func(k clientKey, _ userpool.Client) string { return clientSubject(k.pool, k.id) }) // about 20 MB
	db.standings = newRemembered(10_000, func(k standingKey, _ time.Time) string { return k.subject })                     // about 4 MB
	db.group.commit = db.commitGroup
	return db.prepare(ctx, goose.DialectSQLite3)
}

// OpenPostgres opens a PostgreSQL database by its URL.
func OpenPostgres(ctx context.Context, databaseURL string) (*DB, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		// The parser's error may quote the password: it is left out.
		return nil, fault.New(fault.Invalid, "database_url_invalid", "the database URL is not valid").
			WithSource("--database").WithFix("write it as postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	db.SetConnMaxIdleTime(5 * time.Minute)
	one := &prepared{DB: db, asIs: true}
	return (&DB{write: one, read: one, pg: config, bell: newBell()}).prepare(ctx, goose.DialectPostgres)
}

// prepare migrates the schema, which is safe when several replicas start at
// once, and prepares the statements of the hot path.
func (db *DB) prepare(ctx context.Context, dialect goose.Dialect) (*DB, error) {
	err := db.migrate(ctx, dialect)
	for _, s := range []struct {
		on   *prepared
		stmt **sql.Stmt
		text string
	}{
		{db.write, &db.takeHead, takeHeadText},
		{db.write, &db.moveHead, moveHeadText},
		{db.write, &db.appendOne, appendText(1)},
		{db.write, &db.appendMany, appendText(appendChunk)},
		{db.read, &db.findCredential, findCredentialText},
		{db.read, &db.findDelegated, findDelegatedText},
		{db.read, &db.findStanding, findStandingText},
	} {
		if err == nil {
			*s.stmt, err = s.on.PrepareContext(ctx, s.text)
		}
	}
	if err != nil {
		return nil, errors.Join(unavailable(err), db.Close())
	}
	if db.pg != nil {
		db.bell.follow(db.pg)
	}
	return db, nil
}

func (db *DB) migrate(ctx context.Context, dialect goose.Dialect) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	var options []goose.ProviderOption
	if dialect == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, db.write.DB, files, options...)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Close ends the connections. Calls that are running may fail.
func (db *DB) Close() error {
	db.bell.close()
	var errs []error
	if db.read != nil && db.read != db.write {
		errs = append(errs, db.read.Close())
	}
	return errors.Join(append(errs, db.write.Close())...)
}

// Ping reports whether the database can be written to.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	// A write that changes nothing: it takes the write lock and a commit.
	_, err := db.write.ExecContext(ctx, `UPDATE audit_head SET id = id WHERE id = 0`)
	return unavailable(err)
}

// unavailable makes a fault of a driver's error; faults and nil stay what they are.
func unavailable(err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if unstorable(err) {
		return fault.Wrap(err, fault.Invalid, "text_invalid", "a text has a character that cannot be stored").WithFix("leave out NUL and what is not UTF-8")
	}
	text := strings.ToLower(err.Error())
	fix := "check that the database runs and can be reached, and that its disk has space"
	if errors.Is(err, fs.ErrNotExist) || strings.Contains(text, "unable to open database file") || strings.Contains(text, "permission denied") || strings.Contains(text, "readonly") {
		fix = "check the rights of the data directory"
	}
	return fault.Wrap(err, fault.Unavailable, "store_unavailable", "the database does not work").WithFix("%s", fix)
}

package roster_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/roster"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
	"github.com/deputy-id/deputy/internal/userpool"
)

var operator = name.Caller{Kind: name.Operator, Operator: "root"}

const goodPassword = "correct horse battery staple"

// world is a roster on a database with the pool "people" and an empty one beside it.
type world struct {
	*roster.Roster
	t    *testing.T
	pool userpool.Pool
}

func newWorld(t *testing.T, db *store.DB) *world {
	t.Helper()
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	breached, err := userpool.NewBreached("")
	must(t, err)
	pools, g := store.UserPools{DB: db}, &guard.Guard{Log: log}
	w := &world{&roster.Roster{Store: pools, Passwords: &userpool.Passwords{Hasher: userpool.NewHasher(1), Breached: breached}, Guard: g, Now: time.Now}, t, userpool.Pool{}}
	for _, n := range []string{"other", "people"} {
		w.pool = userpool.Pool{Name: n, Settings: userpool.DefaultSettings(), CreatedAt: time.Now()}
		p, err := g.Allow(t.Context(), operator, userpool.ActionCreatePool, w.pool.Resource())
		must(t, err)
		must(t, pools.CreatePool(t.Context(), p, w.pool))
	}
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// load imports a file and returns "line outcome code" of each row.
func (w *world) load(format, file string, dry bool) ([]string, roster.Summary, error) {
	w.t.Helper()
	rows, err := roster.NewReader(format, strings.NewReader(file))
	must(w.t, err)
	var report []string
	sum, err := w.Import(w.t.Context(), operator, w.pool, rows, dry, func(l roster.Line) error {
		line := string(l.Outcome) + " " + l.UserName
		if l.Err != nil {
			line += " " + l.Err.Code
			if l.Err.Message == "" {
				w.t.Errorf("line %d says nothing", l.Line)
			}
		}
		report = append(report, line)
		return nil
	})
	return report, sum, err
}

const people = "\xef\xbb\xbfuserName,displayName,email,emailVerified,phone,groups,temporaryPassword,attributes.department\r\n" +
	"zhang,张三,zhang@example.com,TRUE,+86 10 1234,研发;ops,Initial-12345,研究部\r\n" +
	"li,\"Li, Si\",li@example.com,,,,,\r\n" +
	"ZHANG,again,,,,,,\r\n" +
	"wang,,not an address,,,,,\r\n" +
	"chen,,,,,,short,\r\n" +
	"few,fields\r\n" +
	"a b,,,,,,,\r\n"

func TestImportTellsAndDoesTheSame(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		w := newWorld(t, db)
		want := []string{"create zhang", "create li", "error ZHANG user_repeated", "error wang email_invalid", "error chen password_length", "error  row_malformed", "error a b name_invalid"}
		for _, dry := range []bool{true, false} {
			got, sum, err := w.load(roster.CSV, people, dry)
			must(t, err)
			if d := cmp.Diff(want, got); d != "" || sum.Created != 2 || sum.Refused != 5 {
				t.Errorf("dry %v: %+v\n%s", dry, sum, d)
			}
			if dry {
				users, _, err := w.Store.FindUsers(t.Context(), "people", userpool.UserQuery{Limit: 10})
				groups, _, errGroups := w.Store.FindGroups(t.Context(), "people", userpool.GroupQuery{Limit: 10})
				if err != nil || errGroups != nil || len(users)+len(groups) != 0 {
					t.Fatalf("a dry run left %v %v, %v %v", users, groups, err, errGroups)
				}
			}
		}
		u, err := w.Store.UserByName(t.Context(), "people", "zhang")
		must(t, err)
		if u.DisplayName != "张三" || !u.EmailVerified || !u.MustChangePassword || u.Attributes["department"] != "研究部" || !cmp.Equal(u.Groups, []string{"ops", "研发"}) {
			t.Errorf("imported %+v", u)
		}
		got, sum, err := w.load(roster.CSV, people, false)
		if must(t, err); sum.Unchanged != 2 || sum.Created+sum.Updated != 0 {
			t.Errorf("the same file again: %v", got)
		}
		if other, _, err := w.Store.FindUsers(t.Context(), "other", userpool.UserQuery{Limit: 10}); err != nil || len(other) != 0 {
			t.Errorf("the other pool has %v, %v", other, err)
		}
	})
}

func TestImportChangesWhatIsSaid(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	hash, err := w.Passwords.Hasher.Hash(t.Context(), secret.FromString(goodPassword))
	must(t, err)
	first := `{"userName":"zhang","email":"zhang@example.com","emailVerified":true,"groups":["ops","dev"],"passwordHash":"` + hash.RevealString() + `"}
{"userName":"two","password":"` + goodPassword + `","temporaryPassword":"` + goodPassword + `"}
{"userName":"three","passwordHash":"$2b$12$abcdefghijklmnopqrstuv"}
{"userName":"four","wrong":1}

{"userName":"five","email":null}
`
	got, _, err := w.load(roster.JSONLines, first, false)
	must(t, err)
	if d := cmp.Diff([]string{"create zhang", "error two password_ambiguous", "error three password_hash_invalid", "error  json_unknown_field", "create five"}, got); d != "" {
		t.Error(d)
	}
	got, _, err = w.load(roster.JSONLines, `{"userName":"Zhang","email":"z@example.com","groups":["dev"],"password":"another password, ignored"}
{"userName":"five","groups":[]}`, false)
	must(t, err)
	if d := cmp.Diff([]string{"update Zhang", "unchanged five"}, got); d != "" {
		t.Error(d)
	}
	u, err := w.Store.UserByName(t.Context(), "people", "zhang")
	must(t, err)
	if u.Email != "z@example.com" || u.EmailVerified || !cmp.Equal(u.Groups, []string{"dev"}) || !secret.Equal(u.PasswordHash, hash) {
		t.Errorf("it is %+v", u)
	}
}

func TestImportOfBrokenFiles(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	for _, c := range []struct{ format, file, code string }{
		{roster.CSV, "userName\nzhang\n\"li\n", "row_malformed"},
		{roster.JSONLines, "{\"userName\":\"zhang\"}\n{\"userName\":\"" + strings.Repeat("x", 70<<10) + "\"}", "row_too_large"},
	} {
		got, sum, err := w.load(c.format, c.file, true)
		if !fault.HasCode(err, c.code) || sum.Created != 1 || sum.Refused != 1 {
			t.Errorf("%s: %v, %v", c.format, got, err)
		}
	}
	for file, code := range map[string]string{"": "header_missing", "name\n": "column_unknown", "userName,userName\n": "column_repeated", "email\n": "column_missing", "userName,attributes.\n": "column_unknown"} {
		if _, err := roster.NewReader(roster.CSV, strings.NewReader(file)); !fault.HasCode(err, code) {
			t.Errorf("%q: %v, want %s", file, err, code)
		}
	}
	if _, err := roster.NewReader("application/xml", strings.NewReader("")); !fault.HasCode(err, "content_type_unsupported") {
		t.Errorf("XML: %v", err)
	}
	rows, err := roster.NewReader(roster.CSV, strings.NewReader("userName\nzhang\n"))
	must(t, err)
	gone := errors.New("nobody reads the report")
	if _, err := w.Import(t.Context(), operator, w.pool, rows, true, func(roster.Line) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("it went on: %v", err)
	}
}

func TestDisablingAndPasswordsEndSessions(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	ctx, sessions := t.Context(), w.Store.(userpool.Sessions)
	u, err := w.Create(ctx, operator, w.pool, userpool.User{UserName: "zhang"}, roster.Password{Text: secret.FromString(goodPassword)})
	must(t, err)
	begin := func() {
		s, _ := userpool.NewSession("people", u.ID, []string{"pwd"}, time.Now())
		p, err := w.Guard.Allow(ctx, name.Caller{Kind: name.System}, userpool.ActionCreateSession, s.Resource())
		must(t, err)
		must(t, sessions.CreateSession(ctx, p, s))
	}
	left := func() int {
		list, err := sessions.SessionsOf(ctx, "people", u.ID)
		must(t, err)
		return len(list)
	}
	begin()
	u, err = w.SetPassword(ctx, operator, w.pool, u, roster.Password{Text: secret.FromString("another correct horse"), Temporary: true})
	if must(t, err); left() != 0 || !u.MustChangePassword {
		t.Errorf("%d sessions, %+v", left(), u)
	}
	begin()
	was := u
	u.Disabled = true
	_, err = w.Update(ctx, operator, was, u)
	if must(t, err); left() != 0 {
		t.Errorf("%d sessions of a user who is disabled", left())
	}
	if _, err := w.Update(ctx, operator, was, u); !fault.HasCode(err, "user_changed") {
		t.Errorf("an old version: %v", err)
	}
}

func TestCreateIsAllOrNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		db, _ := open(t)
		w := newWorld(t, db)
		if _, err := w.Create(t.Context(), operator, w.pool, userpool.User{UserName: "zhang", Groups: []string{"nowhere"}}, roster.Password{}); !fault.HasCode(err, "group_not_found") {
			t.Fatal(err)
		}
		p, err := w.Guard.Allow(t.Context(), operator, userpool.ActionCreateUser, userpool.UserResource("people", "usr_1"))
		must(t, err)
		err = w.Store.CreateMember(t.Context(), p, userpool.User{ID: "usr_1", Pool: "people", UserName: "zhang"}, []string{"grp_none"})
		if !fault.HasCode(err, "group_not_found") {
			t.Fatal(err)
		}
		if _, err := w.Store.UserByName(t.Context(), "people", "zhang"); !fault.Is(err, fault.NotFound) {
			t.Errorf("half a user: %v", err)
		}
		outsider := name.Caller{Kind: name.Provisioner, Pool: "other", Client: "x"}
		if _, err := w.Create(t.Context(), outsider, w.pool, userpool.User{UserName: "li"}, roster.Password{}); !fault.Is(err, fault.Forbidden) {
			t.Errorf("another pool's provisioning system: %v", err)
		}
	})
}

// FuzzReaders holds that reading ends, and that what is read is what was said.
func FuzzReaders(f *testing.F) {
	f.Add(roster.CSV, []byte(people))
	f.Add(roster.CSV, []byte("userName,attributes.a\n\"x\"\"y\",1\n,\n"))
	f.Add(roster.JSONLines, []byte(`{"userName":"li","groups":["a"],"attributes":{"a":"b"}}`+"\n\n{"))
	f.Fuzz(func(t *testing.T, format string, file []byte) {
		rows, err := roster.NewReader(format, bytes.NewReader(file))
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			_, _, err := rows.Next()
			var end *roster.BrokenError
			if errors.Is(err, io.EOF) || errors.As(err, &end) {
				return
			}
			if n > len(file) {
				t.Fatal("more rows than bytes")
			}
			if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
				t.Fatalf("a row failed by %v", err)
			}
		}
	})
}

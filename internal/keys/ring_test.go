package keys_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deputy-id/deputy/internal/audit"
	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/guard"
	"github.com/deputy-id/deputy/internal/jwt"
	"github.com/deputy-id/deputy/internal/keys"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/store"
	"github.com/deputy-id/deputy/internal/store/storetest"
)

// ring opens a ring on db with a root key made of one byte.
func ring(t *testing.T, db *store.DB, b byte) (*keys.Ring, error) {
	t.Helper()
	return ringAt(t, db, b, time.Now)
}

// ringAt is ring with a clock.
func ringAt(t *testing.T, db *store.DB, b byte, now func() time.Time) (*keys.Ring, error) {
	t.Helper()
	root, err := keys.NewLocal(secret.New(bytes.Repeat([]byte{b}, keys.RootSize)))
	if err != nil {
		t.Fatal(err)
	}
	log := audit.NewLog(store.Audit{DB: db})
	t.Cleanup(log.Close)
	return keys.NewRing(t.Context(), root, store.Keys{DB: db}, &guard.Guard{Log: log}, now)
}

var home = keys.Place{Kind: "grant.tokens", Pool: "default", Provider: "feishu", User: name.User{Issuer: "https://i", Subject: "zhang"}, Record: "grt_1", Version: 3}

func TestASealedRecordOpensInItsPlaceOnly(t *testing.T) {
	db := storetest.SQLite(t)
	r, err := ring(t, db, 1)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := r.Seal(t.Context(), home, secret.FromString("the token"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("token")) {
		t.Error("the record is in clear")
	}
	again, err := r.Seal(t.Context(), home, secret.FromString("the token"))
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("sealing twice gives the same bytes, %v", err)
	}
	plain, err := r.Open(t.Context(), home, sealed)
	if err != nil || plain.RevealString() != "the token" {
		t.Fatalf("got %q, %v", plain.RevealString(), err)
	}
	// Another pool has another key; make it, so that it is the place that decides.
	elsewhere := home
	elsewhere.Pool = "other"
	if _, err := r.Seal(t.Context(), elsewhere, secret.FromString("x")); err != nil {
		t.Fatal(err)
	}
	for what, move := range map[string]func(*keys.Place){
		"kind": func(p *keys.Place) { p.Kind = "provider.secret" }, "pool": func(p *keys.Place) { p.Pool = "other" }, "provider": func(p *keys.Place) { p.Provider = "github" },
		"issuer": func(p *keys.Place) { p.User.Issuer = "https://j" }, "subject": func(p *keys.Place) { p.User.Subject = "li" }, "record": func(p *keys.Place) { p.Record = "grt_2" },
		"version":        func(p *keys.Place) { p.Version = 4 },
		"field boundary": func(p *keys.Place) { p.Kind, p.Provider = "grant.token", "sfeishu" },
	} {
		p := home
		move(&p)
		if _, err := r.Open(t.Context(), p, sealed); !fault.HasCode(err, "seal_broken") {
			t.Errorf("opened with another %s: %v", what, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := r.Open(t.Context(), home, bad); !fault.HasCode(err, "seal_broken") {
			t.Fatalf("opened with byte %d altered: %v", i, err)
		}
	}
}

func TestTheRootKeyMustBeTheStores(t *testing.T) {
	db := storetest.SQLite(t)
	first, err := ring(t, db, 1)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Seal(t.Context(), home, secret.FromString("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring(t, db, 2); !fault.HasCode(err, "root_key_wrong") {
		t.Errorf("another root key: %v", err)
	}
	again, err := ring(t, db, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Open(t.Context(), home, sealed); err != nil {
		t.Error(err)
	}
}

// TestReplicasAgree has replicas make the first keys of pools and owners at once.
func TestReplicasAgree(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		one, two := open(t)
		a, err := ring(t, one, 1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ring(t, two, 1)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		signing := make([]string, 8)
		for i := range 8 {
			r, other := a, b
			if i%2 == 1 {
				r, other = b, a
			}
			group.Go(func() {
				place := home
				place.Pool = "fresh"
				sealed, err := r.Seal(t.Context(), place, secret.FromString("x"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := other.Open(t.Context(), place, sealed); err != nil {
					t.Error(err)
				}
				list, err := r.Signing(t.Context(), "workload-tokens", jwt.ES256)
				if err != nil || len(list) != 1 {
					t.Errorf("%d keys, %v", len(list), err)
					return
				}
				signing[i] = list[0].ID
			})
		}
		group.Wait()
		for _, id := range signing {
			if id != signing[0] {
				t.Errorf("replicas sign with different keys: %v", signing)
			}
		}
	})
}

func TestRootKeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	if _, err := keys.ReadRootFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	made, err := keys.CreateRootFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	read, err := keys.ReadRootFile(path)
	if err != nil || !secret.Equal(made, read) {
		t.Errorf("read back: %v", err)
	}
	if _, err := keys.CreateRootFile(path); !fault.HasCode(err, "root_key_exists") {
		t.Errorf("a root key was overwritten: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ReadRootFile(path); !fault.HasCode(err, "root_key_exposed") {
		t.Errorf("an exposed file: %v", err)
	}
	for what, text := range map[string]string{"short": "c2hvcnQ=", "not base64": "!!!secret!!!", "empty": "", "long": base64.StdEncoding.EncodeToString(make([]byte, 33))} {
		_, err := keys.ParseRoot(secret.FromString(text), "DEPUTY_ROOT_KEY")
		if !fault.HasCode(err, "root_key_invalid") {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error shows the key: %v", what, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 60)...))
	db, err := store.OpenSQLite(f.Context(), f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	log := audit.NewLog(store.Audit{DB: db})
	f.Cleanup(log.Close)
	root, err := keys.NewLocal(secret.New(make([]byte, keys.RootSize)))
	if err != nil {
		f.Fatal(err)
	}
	r, err := keys.NewRing(f.Context(), root, store.Keys{DB: db}, &guard.Guard{Log: log}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := r.Open(t.Context(), home, sealed); !fault.HasCode(err, "seal_broken") {
			t.Errorf("%x: %v", sealed, err)
		}
	})
}

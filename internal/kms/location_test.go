package kms_test

import (
	"context"
	"strings"
	"testing"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/kms"
)

func TestLocations(t *testing.T) {
	for location, id := range map[string]string{
		"vault://Vault.example.com/transit/keys/deputy":                      "transit:vault.example.com:8200/transit/keys/deputy",
		"vault://vault.example.com:443/team/transit/keys/deputy":             "transit:vault.example.com:443/team/transit/keys/deputy",
		"vault://vault.example.com/transit/keys/deputy?namespace=admin/team": "transit:vault.example.com:8200/admin/team/transit/keys/deputy",
		"vault+http://localhost/transit/keys/deputy":                         "transit:localhost:8200/transit/keys/deputy",
		"vault+http://[::1]:8200/transit/keys/deputy":                        "transit:[::1]:8200/transit/keys/deputy",
		"awskms:///arn:aws:kms:eu-central-1:111122223333:key/mrk-12":         "awskms:arn:aws:kms:eu-central-1:111122223333:key/mrk-12",
		"awskms:///arn:aws-cn:kms:cn-north-1:111122223333:key/12":            "awskms:arn:aws-cn:kms:cn-north-1:111122223333:key/12",
	} {
		if root, err := kms.Open(t.Context(), location, token("x")); err != nil || root.ID() != id {
			t.Errorf("%s: got %v, %v", location, root, err)
		}
	}
	for _, location := range []string{
		"", "transit/keys/deputy", "https://vault.example.com/v1/transit/encrypt/deputy", "vault:///transit/keys/deputy", "vault://h/transit/deputy", "vault://h/keys/deputy",
		"vault://h/transit/keys/", "vault://h/transit/keys/a/b", "vault://h/../keys/a", "vault://h/a/../keys/a", "vault://h/a%2Fb/keys/a", "vault://token@h/transit/keys/deputy", "vault://h/transit/keys/a#b",
		"vault://h/transit/keys/a?token=hvs.x", "vault://h/transit/keys/a?token-file=a&token-file=b", "vault://h/transit/keys/a?token-file=", "vault://h/transit/keys/a?%zz",
		"vault+http://vault.example.com/transit/keys/deputy", "vault+http://10.0.0.1/transit/keys/deputy", "vault://h/transit/keys/a?namespace=a%23b",
		"awskms://arn:aws:kms:eu-central-1:111122223333:key/1", "awskms:///alias/deputy", "awskms:///arn:aws:kms:eu-central-1:111122223333:alias/deputy", "awskms:///arn:aws:s3:::b",
		"awskms:///arn:aws:kms:eu-central-1:111122223333:key/1?endpoint=http://kms.example.com", "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1?endpoint=x",
		"gcpkms://projects/p/locations/l/keyRings/r", "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "vault://h/transit/keys/" + strings.Repeat("a", 2<<10),
	} {
		if _, err := kms.Open(t.Context(), location, token("x")); !fault.HasCode(err, "root_kms_invalid") || fault.As(err).Fix == "" || strings.Contains(err.Error(), "hvs.") {
			t.Errorf("%s: %v", location, err)
		}
	}
	if _, err := kms.Open(t.Context(), "vault://h/transit/keys/deputy", kms.Access{}); !fault.HasCode(err, "root_kms_token_missing") {
		t.Errorf("without a token: %v", err)
	}
}

// FuzzLocation: whatever is opened has an id that tells it from all others and is one line.
func FuzzLocation(f *testing.F) {
	f.Add("vault://h/transit/keys/deputy?token-file=/x")
	f.Add("awskms:///arn:aws:kms:eu-central-1:111122223333:key/1")
	f.Fuzz(func(t *testing.T, location string) {
		if strings.HasPrefix(strings.ToLower(location), "gcpkms") {
			return // it would look for credentials
		}
		root, err := kms.Open(context.Background(), location, token("x"))
		if err == nil && (strings.ContainsAny(root.ID(), "#\n\r\x00") || len(root.ID()) > 4<<10) {
			t.Errorf("%q has the id %q", location, root.ID())
		}
	})
}

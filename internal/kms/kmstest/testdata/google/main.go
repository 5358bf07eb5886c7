// Command google is Google's own client of Cloud KMS, for tests: it encrypts or decrypts what it reads, at the endpoint, with
// the key and under the additional data that the arguments say, with the credentials of the environment. All of it is base64.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"

	"google.golang.org/api/cloudkms/v1"
	"google.golang.org/api/option"
)

func main() {
	endpoint := flag.String("endpoint", "", "where the service is")
	key := flag.String("key", "", "projects/…/cryptoKeys/…")
	additional := flag.String("aad", "", "the additional authenticated data")
	decrypt := flag.Bool("decrypt", false, "decrypt")
	flag.Parse()
	if err := run(context.Background(), *endpoint, *key, *additional, *decrypt); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, endpoint, key, additional string, decrypt bool) error {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	service, err := cloudkms.NewService(ctx, option.WithEndpoint(endpoint))
	if err != nil {
		return err
	}
	keys := cloudkms.NewProjectsLocationsKeyRingsCryptoKeysService(service)
	if decrypt {
		answer, err := keys.Decrypt(key, &cloudkms.DecryptRequest{
			Ciphertext: string(input), CiphertextCrc32c: sum(string(input)), AdditionalAuthenticatedData: additional, AdditionalAuthenticatedDataCrc32c: sum(additional),
		}).Do()
		if err != nil {
			return err
		}
		if sum(answer.Plaintext) != answer.PlaintextCrc32c {
			return errors.New("the plaintext has another checksum")
		}
		_, err = fmt.Print(answer.Plaintext)
		return err
	}
	answer, err := keys.Encrypt(key, &cloudkms.EncryptRequest{
		Plaintext: string(input), PlaintextCrc32c: sum(string(input)), AdditionalAuthenticatedData: additional, AdditionalAuthenticatedDataCrc32c: sum(additional),
	}).Do()
	if err != nil {
		return err
	}
	if !answer.VerifiedPlaintextCrc32c || !answer.VerifiedAdditionalAuthenticatedDataCrc32c || sum(answer.Ciphertext) != answer.CiphertextCrc32c {
		return errors.New("the service verified no checksum, or the ciphertext has another one")
	}
	_, err = fmt.Print(answer.Ciphertext)
	return err
}

// sum is the checksum of what is written in base64.
func sum(text string) int64 {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		log.Fatal(err)
	}
	return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

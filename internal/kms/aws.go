package kms

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/deputy-id/deputy/internal/fault"
)

// amazon is a symmetric key in AWS KMS. It has no versions: AWS keeps what it
// replaces for as long as the key lives, and says nowhere which one was used.
type amazon struct {
	client *kms.Client
	arn    string
	where  string
}

// contextName is what the context of a wrapped key is called in AWS's logs and
// in conditions of its policies.
const contextName = "deputy"

func openAWS(ctx context.Context, l location) (*amazon, error) {
	region := awsKey.FindStringSubmatch(l.key)[1]
	ctx, cancel := withRequestTime(ctx)
	defer cancel()
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "root_kms_invalid", "the configuration for AWS in the environment is wrong").WithFix("check it with: aws sts get-caller-identity")
	}
	client := kms.NewFromConfig(c, func(o *kms.Options) {
		if endpoint := l.query.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
	return &amazon{client, l.key, "AWS KMS in " + region}, nil
}

// ID implements [keys.Root].
func (a *amazon) ID() string { return "awskms:" + a.arn }

// encryptionContext is the context in the form that AWS takes: text.
func encryptionContext(context []byte) map[string]string {
	return map[string]string{contextName: base64.StdEncoding.EncodeToString(context)}
}

// Wrap implements [keys.Root].
func (a *amazon) Wrap(ctx context.Context, context, key []byte) (wrapped []byte, version string, err error) {
	ctx, cancel := withRequestTime(ctx)
	defer cancel()
	answer, err := a.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &a.arn, Plaintext: key, EncryptionContext: encryptionContext(context)})
	if err != nil {
		return nil, "", a.refused(err)
	}
	return answer.CiphertextBlob, "", nil
}

// Unwrap implements [keys.Root].
func (a *amazon) Unwrap(ctx context.Context, context, wrapped []byte) ([]byte, error) {
	ctx, cancel := withRequestTime(ctx)
	defer cancel()
	answer, err := a.client.Decrypt(ctx, &kms.DecryptInput{KeyId: &a.arn, CiphertextBlob: wrapped, EncryptionContext: encryptionContext(context)})
	if err != nil {
		return nil, a.refused(err)
	}
	return answer.Plaintext, nil
}

// refused says what an error means, and what to do next.
func (a *amazon) refused(err error) error {
	var ciphertext *types.InvalidCiphertextException
	var key *types.IncorrectKeyException
	var absent *types.NotFoundException
	var off *types.DisabledException
	var state *types.KMSInvalidStateException
	var usage *types.InvalidKeyUsageException
	var said smithy.APIError
	switch {
	case errors.As(err, &ciphertext), errors.As(err, &key):
		return mismatch(err, a.where)
	case errors.As(err, &absent):
		return missing(err, a.where, "check the ARN in the root key's location, and its region")
	case errors.As(err, &off), errors.As(err, &state), errors.As(err, &usage):
		return disabled(err, a.where, "enable it, or cancel its deletion: it is to be a symmetric key for encryption")
	case errors.As(err, &said) && said.ErrorFault() != smithy.FaultServer && !throttled(said):
		return denied(err, a.where, "the key's policy, or that of Deputy's role, is to allow kms:Encrypt and kms:Decrypt; see who is asking with: aws sts get-caller-identity")
	case errors.As(err, &said):
		return unusable(err, a.where, "answered with an error")
	default:
		return unreachable(err, a.where, "check that this machine may connect to it, and that there are credentials: aws sts get-caller-identity")
	}
}

func throttled(said smithy.APIError) bool {
	switch said.ErrorCode() {
	case "ThrottlingException", "LimitExceededException", "RequestLimitExceeded", "DependencyTimeoutException", "KeyUnavailableException", "KMSInternalException":
		return true
	}
	return false
}

package obtain

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/reqsign"
	"github.com/deputy-id/deputy/internal/wire"
)

// dialect is how a cloud's token service is spoken to. An answer that cannot be
// read has neither keys nor a refusal.
type dialect struct {
	scheme  reqsign.Scheme
	region  func(a assumption) string
	request func(a assumption) (*http.Request, []byte, error)
	answer  func(body []byte) (granted, refusal)
}

// refusal is a cloud's error, in its own words.
type refusal struct{ code, message string }

func dialectOf(c provider.Cloud) dialect {
	if c == provider.AWS {
		return dialect{reqsign.AWS, awsRegion, awsRequest, awsAnswer}
	}
	return dialect{reqsign.Volcengine, func(a assumption) string { return cmp.Or(a.Region, "cn-north-1") }, volcengineRequest, volcengineAnswer}
}

// volcengineRequest is AssumeRole of 2018-01-01, as the official SDK sends it.
func volcengineRequest(a assumption) (*http.Request, []byte, error) {
	q := url.Values{"Action": {"AssumeRole"}, "Version": {"2018-01-01"}, "RoleTrn": {a.Role}, "RoleSessionName": {a.session}, "DurationSeconds": {seconds(a)}}
	if a.policy != "" {
		q.Set("Policy", a.policy)
	}
	address := strings.TrimSuffix(cmp.Or(a.Endpoint, "https://open.volcengineapi.com"), "/") + "/?" + strings.ReplaceAll(q.Encode(), "+", "%20")
	r, err := request(http.MethodGet, address)
	return r, nil, err
}

func volcengineAnswer(body []byte) (granted, refusal) {
	var a struct {
		ResponseMetadata struct {
			Error struct {
				Code    string
				Message string
			}
		}
		Result struct {
			Credentials struct {
				ExpiredTime     string
				AccessKeyId     string //nolint:revive // the cloud's spelling
				SecretAccessKey string
				SessionToken    string
			}
			AssumedRoleUser struct{ Trn string }
		}
	}
	if wire.DecodeForeign(body, &a) != nil {
		return granted{}, refusal{}
	}
	c := a.Result.Credentials
	expires, _ := time.Parse(time.RFC3339, c.ExpiredTime) // zero is no time that lasts
	return granted{c.AccessKeyId, c.SecretAccessKey, c.SessionToken, expires, a.Result.AssumedRoleUser.Trn}, refusal{a.ResponseMetadata.Error.Code, a.ResponseMetadata.Error.Message}
}

func awsRegion(a assumption) string { return cmp.Or(a.Region, "us-east-1") }

// awsRequest is AssumeRole of the Query API 2011-06-15, at the region's own
// endpoint: the global one is far away, and down with one region.
func awsRequest(a assumption) (*http.Request, []byte, error) {
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {a.Role}, "RoleSessionName": {a.session}, "DurationSeconds": {seconds(a)}}
	if a.policy != "" {
		form.Set("Policy", a.policy)
	}
	if a.ExternalID != "" {
		form.Set("ExternalId", a.ExternalID)
	}
	region := awsRegion(a)
	host := "https://sts." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		host += ".cn"
	}
	r, err := request(http.MethodPost, strings.TrimSuffix(cmp.Or(a.Endpoint, host), "/")+"/")
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return r, []byte(form.Encode()), nil
}

func awsAnswer(body []byte) (granted, refusal) {
	var a struct {
		XMLName xml.Name
		Result  struct {
			Credentials struct {
				AccessKeyId     string //nolint:revive // the cloud's spelling
				SecretAccessKey string
				SessionToken    string
				Expiration      string
			}
			AssumedRoleUser struct{ Arn string }
		} `xml:"AssumeRoleResult"`
		Error struct {
			Code    string
			Message string
		}
	}
	if err := decodeXML(body, &a); err != nil {
		return granted{}, refusal{}
	}
	if a.XMLName.Local == "ErrorResponse" {
		return granted{}, refusal{cmp.Or(a.Error.Code, "unknown"), a.Error.Message}
	}
	c := a.Result.Credentials
	expires, _ := time.Parse(time.RFC3339, c.Expiration) // zero is no time that lasts
	return granted{c.AccessKeyId, c.SecretAccessKey, c.SessionToken, expires, a.Result.AssumedRoleUser.Arn}, refusal{}
}

var errXML = errors.New("obtain: the XML has a document type, or more than one document")

// decodeXML decodes one document, and refuses document types: they define
// entities, which no answer needs.
func decodeXML(body []byte, into any) error {
	for tokens := xml.NewDecoder(bytes.NewReader(body)); ; {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if _, ok := token.(xml.Directive); ok {
			return errXML
		}
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(into); err != nil {
		return err
	}
	for {
		switch token, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			if _, ok := token.(xml.StartElement); ok {
				return errXML
			}
		}
	}
}

func seconds(a assumption) string { return strconv.FormatInt(int64(a.lifetime()/time.Second), 10) }

func request(method, address string) (*http.Request, error) {
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "sts_invalid", "the endpoint of the token service is malformed").WithSource("sts.endpoint")
	}
	return r, nil
}

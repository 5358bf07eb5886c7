package obtain

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/vendor"
)

// stepAssume is the step of a [vendor.Failure] of a token service.
const stepAssume vendor.Step = "assume"

// meaning is what an error of a token service is about.
type meaning struct {
	class vendor.Class
	what  vendor.Words
	fix   vendor.Words
}

var codeShape = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// failed explains why a role could not be assumed. A [vendor.Failure] with both
// languages is in the chain; the code is "vendor_" and its class.
func (a assumption) failed(status int, r refusal) error {
	m := explain(r)
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		m = unclear()
	}
	cloud := map[provider.Cloud]vendor.Words{provider.Volcengine: {EN: "Volcengine", ZH: "火山引擎"}, provider.AWS: {EN: "AWS", ZH: "AWS"}}[a.Cloud]
	fill := func(text, cloud string) string {
		return strings.NewReplacer("{cloud}", cloud, "{role}", a.Role).Replace(text)
	}
	code := r.code
	if code != "" && !codeShape.MatchString(code) {
		code = "unreadable"
	}
	f := &vendor.Failure{
		Vendor: string(a.Cloud), Step: stepAssume, Class: m.class, Status: status, VendorCode: code,
		Explanation: fill(m.what.EN, cloud.EN), ExplanationZH: fill(m.what.ZH, cloud.ZH), Fix: fill(m.fix.EN, cloud.EN), FixZH: fill(m.fix.ZH, cloud.ZH),
		// No secret was sent: a request has the key's id and a signature. So the answer can repeat none.
		Detail: name.Clip(oauth.Clean(r.message, 1200), 300),
	}
	kind := fault.Upstream
	if f.Class == vendor.ClassRetry {
		kind = fault.Unavailable
	}
	return fault.Wrap(f, kind, "vendor_"+string(f.Class), "%s", f.Explanation).WithFix("%s", f.Fix)
}

// explain knows the errors of both clouds. They share most words, and where they
// do not, no word means two things.
func explain(r refusal) meaning {
	switch r.code {
	case "NoPermission", "AccessDenied", "AccessDeniedException", "Forbidden":
		return meaning{vendor.ClassConfig,
			vendor.Words{EN: "{cloud} does not let the access key assume the role {role}", ZH: "{cloud} 不允许该访问密钥扮演角色 {role}"},
			vendor.Words{EN: "allow sts:AssumeRole to the user of the access key, and let the role's trust policy name that user",
				ZH: "为访问密钥所属的用户授予 sts:AssumeRole 权限,并在角色的信任策略中加入该用户"}}
	case "SignatureDoesNotMatch", "InvalidSignature", "IncompleteSignature":
		if strings.Contains(r.message, "Signature expired") || strings.Contains(r.message, "not yet current") {
			return clocks() // AWS has no code of its own for it
		}
		return meaning{vendor.ClassConfig,
			vendor.Words{EN: "the secret access key is not the one of the access key", ZH: "Secret Access Key 与访问密钥不匹配"},
			vendor.Words{EN: "copy both again from {cloud}'s console, without spaces and line breaks", ZH: "请在{cloud}控制台重新复制两者,注意不要带空格或换行"}}
	case "InvalidAccessKey", "InvalidAccessKeyId", "InvalidCredential", "InvalidClientTokenId", "InvalidAuthorization", "UnrecognizedClientException":
		return meaning{vendor.ClassConfig,
			vendor.Words{EN: "{cloud} does not know the access key, or it is disabled", ZH: "{cloud} 不认识该访问密钥,或该密钥已被禁用"},
			vendor.Words{EN: "look whether the access key exists and is enabled in {cloud}'s console, and in this region", ZH: "请在{cloud}控制台确认该访问密钥存在并已启用,且地域正确"}}
	case "InvalidTimestamp", "RequestExpired", "RequestTimeTooSkewed", "SignatureExpired":
		return clocks()
	case "RoleNotExist", "EntityNotExist.Role", "NoSuchEntity", "InvalidParameter.RoleTrn":
		return meaning{vendor.ClassConfig,
			vendor.Words{EN: "there is no role {role}", ZH: "角色 {role} 不存在"},
			vendor.Words{EN: "copy the role's TRN or ARN from {cloud}'s console", ZH: "请在{cloud}控制台复制角色的 TRN 或 ARN"}}
	case "MalformedPolicyDocument", "PackedPolicyTooLarge", "InvalidParameter.Policy", "InvalidPolicyDocument":
		return meaning{vendor.ClassConfig,
			vendor.Words{EN: "{cloud} does not take the session policy", ZH: "{cloud} 不接受该会话策略"},
			vendor.Words{EN: "correct the workload's policy in the credential provider, or shorten it", ZH: "请修改或精简凭据提供方中该工作负载的策略"}}
	case "ValidationError", "InvalidParameter", "InvalidParameterValue", "MissingParameter", "InvalidParameter.DurationSeconds", "RegionDisabledException":
		return meaning{vendor.ClassConfig,
			vendor.Words{EN: "{cloud} does not take a setting of the credential provider", ZH: "{cloud} 不接受凭据提供方的某项设置"},
			vendor.Words{EN: "compare role, region, external id and lifetime with {cloud}'s console; the role's own maximum session duration is a bound too",
				ZH: "请对照{cloud}控制台检查角色、地域、外部 ID 与有效期;有效期不能超过角色的最大会话时长"}}
	default:
		return unclear()
	}
}

func clocks() meaning {
	return meaning{vendor.ClassConfig,
		vendor.Words{EN: "the clocks of {cloud} and of this machine differ", ZH: "本机时钟与{cloud}的时钟不一致"},
		vendor.Words{EN: "set the clock of the machine that Deputy runs on, with NTP", ZH: "请用 NTP 校准运行 Deputy 的机器的时钟"}}
}

// unclear is the meaning of overload, and of everything that is not known.
func unclear() meaning {
	return meaning{vendor.ClassRetry,
		vendor.Words{EN: "{cloud} gave no clear answer", ZH: "{cloud} 没有给出明确的答复"},
		vendor.Words{EN: "try again in a moment; if it stays so, see the log", ZH: "请稍后重试;如持续出现,请查看日志"}}
}

package trial

import (
	"context"
	"errors"
	"strings"

	"github.com/deputy-id/deputy/internal/fault"
	"github.com/deputy-id/deputy/internal/name"
	"github.com/deputy-id/deputy/internal/oauth"
	"github.com/deputy-id/deputy/internal/provider"
	"github.com/deputy-id/deputy/internal/secret"
	"github.com/deputy-id/deputy/internal/vault"
	"github.com/deputy-id/deputy/internal/vendor"
)

// alone tries what needs no person: whether the third party is there, and
// knows the client, and whether the scopes are known.
func alone(ctx context.Context, d provider.Dialect) []Result {
	results := discovered(ctx, d)
	err := d.Probe(ctx)
	var f *vendor.Failure
	switch {
	case err == nil && (d.Provider.Options.Device || !d.Entry.Proves()):
		results = append(results, endpointsAnswer(), secretUnknown(""))
	case err == nil:
		results = append(results, endpointsAnswer(), passed(StepClient, "the third party does not object to the client id and the client secret", "第三方没有拒绝客户端 ID 和密钥"))
	case !errors.As(err, &f) || f.Status == 0:
		results = append(results, broken(StepEndpoints, err))
	case f.Class == vendor.ClassConfig || f.Class == vendor.ClassApp:
		results = append(results, endpointsAnswer(), broken(StepClient, err))
	default:
		results = append(results, endpointsAnswer(), secretUnknown(f.VendorCode))
	}
	if unknown, fix := d.Entry.UnknownScopes(d.Provider.Scopes); unknown.Len() > 0 {
		list := unknown.String()
		results = append(results, Result{
			Step: StepScopes, Outcome: Skipped, Fix: vendor.Words{EN: fix, ZH: fix},
			Text: vendor.Words{EN: "the catalogue does not know " + list + ", which says nothing against it", ZH: "目录中没有 " + list + "，但不代表其不可用"},
		})
	}
	return results
}

// discovered asks an MCP server whether what was found when the provider was saved
// still holds.
func discovered(ctx context.Context, d provider.Dialect) []Result {
	m := d.Provider.Options.MCP
	if m == nil {
		return []Result{}
	}
	if err := d.Recheck(ctx); err != nil {
		return []Result{broken(StepDiscovery, err)}
	}
	issuer := d.Provider.Options.Discovery.Issuer
	return []Result{passed(StepDiscovery, "the MCP server takes tokens for "+m.Resource+" from "+issuer, "MCP 服务器接受 "+issuer+" 为 "+m.Resource+" 签发的令牌")}
}

func secretUnknown(code string) Result {
	r := skipped(StepClient, "whether the client secret is right shows at the exchange only", "客户端密钥是否正确要到换取令牌时才能知道")
	r.Code = code
	return r
}

func endpointsAnswer() Result {
	return passed(StepEndpoints, "the third party answers", "第三方有应答")
}

// byCode says what of the rest is known where people agree by a code (RFC 8628):
// the third party has just handed one out. Nobody types it, and it ends by itself.
func byCode() []Result {
	return []Result{
		passed(StepAuthorization, "the third party hands out a code for people to type", "第三方给出了供用户输入的代码"),
		skipped(StepConsent, "what follows is seen when somebody agrees: ask an agent that uses this credential provider", "后续步骤需有人同意后才能知道：请使用一个用到此凭据提供方的智能体"),
	}
}

// withAnswer tries what follows the third party's answer.
func withAnswer(ctx context.Context, d provider.Dialect, cb Callback, verifier secret.Text) []Result {
	results := []Result{passed(StepAuthorization, "the third party showed its page and sent the browser back here", "第三方展示了授权页面，并将浏览器送回此处")}
	if cb.Code.Empty() {
		f := d.Entry.ExplainAuthorize(d.App.RedirectURI, cb.Error, cb.Description)
		return append(results, explained(StepConsent, f, d.App.RedirectURI))
	}
	got, err := d.Exchange(ctx, cb.Code, verifier)
	if err != nil {
		return append(results, passed(StepConsent, "the person agreed", "用户已同意"), broken(StepExchange, err))
	}
	defer got.Access.Clear()
	results = append(results, consented(d, got), passed(StepExchange, "the code became an access token", "授权码已换取访问令牌"))
	results = append(results, account(ctx, d, got.Access))
	access, refreshed := refresh(ctx, d, got)
	return append(results, refreshed, request(ctx, d, access))
}

// consented compares what was asked for with what was granted.
func consented(d provider.Dialect, got vendor.Tokens) Result {
	if missing := vault.Missing(got.Scopes, d.Provider.Scopes); got.ScopesKnown && missing.Len() > 0 {
		list := missing.String()
		return Result{
			Step: StepConsent, Outcome: Failed, Paste: list,
			Text: vendor.Words{EN: "the third party did not grant " + list, ZH: "第三方没有授予 " + list},
			Fix:  vendor.Words{EN: "tick everything on its page; else enable these scopes for the app", ZH: "请在授权页面勾选全部权限；否则请为应用开通这些权限"},
		}
	}
	return passed(StepConsent, "the person agreed to everything that was asked for", "用户同意了所请求的全部权限")
}

func account(ctx context.Context, d provider.Dialect, access secret.Text) Result {
	a, err := d.Account(ctx, access)
	switch {
	case fault.HasCode(err, "vendor_endpoint_missing"):
		return skipped(StepAccount, "the vendor's entry names no address that tells whose account it is", "厂商条目未提供查询账号的地址")
	case err != nil:
		return broken(StepAccount, err)
	}
	label := a.Name
	if label == "" {
		label = a.ID
	}
	label = name.Clip(label, 80)
	return passed(StepAccount, "the token opens the account "+label, "该令牌属于账号 "+label)
}

// refresh redeems the refresh token, and returns the newest access token with
// how that went.
func refresh(ctx context.Context, d provider.Dialect, got vendor.Tokens) (secret.Text, Result) {
	if got.Refresh.Empty() {
		switch {
		case d.Entry.RefreshScope != "" && !d.Provider.Scopes.Has(d.Entry.RefreshScope):
			return got.Access, Result{
				Step: StepRefresh, Outcome: Skipped, Paste: d.Entry.RefreshScope,
				Text: vendor.Words{EN: "there is no refresh token: people will be asked again when the access token has expired", ZH: "没有刷新令牌：访问令牌过期后用户需要重新授权"},
				Fix:  vendor.Words{EN: "add the scope " + d.Entry.RefreshScope + " to the credential provider", ZH: "请为凭据提供方添加权限 " + d.Entry.RefreshScope},
			}
		case got.ExpiresAt.IsZero():
			return got.Access, skipped(StepRefresh, "there is no refresh token, and the access token does not expire", "没有刷新令牌，访问令牌不会过期")
		default:
			return got.Access, skipped(StepRefresh, "there is no refresh token: people will be asked again when the access token has expired", "没有刷新令牌：访问令牌过期后用户需要重新授权")
		}
	}
	defer got.Refresh.Clear()
	next, err := d.Refresh(ctx, got.Refresh)
	if err != nil {
		return got.Access, broken(StepRefresh, err)
	}
	next.Refresh.Clear()
	return next.Access, passed(StepRefresh, "the refresh token works", "刷新令牌有效")
}

// request makes a call with the newest access token.
func request(ctx context.Context, d provider.Dialect, access secret.Text) Result {
	defer access.Clear()
	err := d.Try(ctx, access)
	switch {
	case fault.HasCode(err, "vendor_endpoint_missing"):
		return skipped(StepRequest, "the vendor's entry has no test request", "厂商条目没有测试请求")
	case err != nil:
		return broken(StepRequest, err)
	}
	return passed(StepRequest, "a request with the token works", "使用该令牌的请求成功")
}

// tooLate says at which point nobody went on.
func tooLate(t Trial, callback string) Result {
	switch t.State {
	case Begun:
		return Result{
			Step: StepAuthorization, Outcome: Failed, Text: vendor.Words{EN: "the link was not opened in time", ZH: "链接未在有效时间内打开"},
			Fix: vendor.Words{EN: "begin a new test", ZH: "请重新开始测试"},
		}
	case Redirected:
		return Result{
			Step: StepAuthorization, Outcome: Failed, Paste: callback,
			Text: vendor.Words{EN: "the third party did not send the browser back", ZH: "第三方没有将浏览器送回"},
			Fix: vendor.Words{
				EN: "if its page showed an error, compare client id and redirect URI there; register exactly " + callback,
				ZH: "如果其页面显示错误，请核对其中的客户端 ID 与重定向 URI；请登记此地址 " + callback,
			},
		}
	default:
		return Result{
			Step: StepExchange, Outcome: Failed, Text: vendor.Words{EN: "the exchange was interrupted", ZH: "换取令牌的过程被中断"},
			Fix: vendor.Words{EN: "begin a new test", ZH: "请重新开始测试"},
		}
	}
}

func passed(s Step, en, zh string) Result {
	return Result{Step: s, Outcome: Passed, Text: vendor.Words{EN: en, ZH: zh}}
}

func skipped(s Step, en, zh string) Result {
	return Result{Step: s, Outcome: Skipped, Text: vendor.Words{EN: en, ZH: zh}}
}

// broken explains an error in the words of the vendor's entry, if it is about
// an answer of the vendor, and else in its own.
func broken(s Step, err error) Result {
	var f *vendor.Failure
	if errors.As(err, &f) {
		return explained(s, *f, "")
	}
	own := fault.As(err)
	return Result{Step: s, Outcome: Failed, Text: vendor.Words{EN: own.Message, ZH: own.Message}, Fix: vendor.Words{EN: own.Fix, ZH: own.Fix}, Code: own.Code}
}

// explained is a failure at the vendor. paste is the callback, which is what the
// fix asks to paste if it speaks of one.
func explained(s Step, f vendor.Failure, paste string) Result {
	if paste != "" && !strings.Contains(f.Fix, paste) && f.VendorCode != oauth.CodeInvalidRequest {
		paste = ""
	}
	return Result{
		Step: s, Outcome: Failed, Text: vendor.Words{EN: f.Explanation, ZH: f.ExplanationZH}, Fix: vendor.Words{EN: f.Fix, ZH: f.FixZH}, Code: f.VendorCode, Paste: paste,
	}
}

func failed(results []Result) bool {
	for _, r := range results {
		if r.Outcome == Failed {
			return true
		}
	}
	return false
}

// outline is what the audit log says of a trial.
func outline(results []Result) map[string]string {
	said := map[string]string{}
	for _, r := range results {
		said[string(r.Step)] = strings.TrimSuffix(string(r.Outcome)+" "+r.Code, " ")
	}
	return said
}

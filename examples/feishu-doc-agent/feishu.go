package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	deputy "github.com/deputy-id/deputy/sdk"
)

const (
	// readScope is all that reading a document needs.
	readScope = "docx:document:readonly"
	// maxDocument bounds Feishu's answer, in bytes.
	maxDocument = 8 << 20
)

// documents reads documents at Feishu.
type documents struct{ base string }

type readInput struct {
	Document string `json:"document" jsonschema:"the link of the document, such as https://example.feishu.cn/docx/ABC123, or its id"`
}

type document struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// read is the tool read_document. The user's token is put on its request by
// call.HTTP, after the user's consent.
func (d documents) read(ctx context.Context, call *deputy.Call, in readInput) (document, error) {
	id, err := documentID(in.Document)
	if err != nil {
		return document{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+"/open-apis/docx/v1/documents/"+url.PathEscape(id)+"/raw_content", nil)
	if err != nil {
		return document{}, err
	}
	resp, err := call.HTTP.Do(req)
	if err != nil {
		return document{}, unreachable(ctx, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return document{}, unreachable(ctx, err)
	}
	if len(b) > maxDocument {
		return document{}, &problem{zh: "这篇文档太大了，我读不完。", en: "This document is too large for me to read."}
	}
	var answer struct {
		Code *int   `json:"code"`
		Msg  string `json:"msg"`
		Data struct {
			Content string `json:"content"`
		} `json:"data"`
		Error struct {
			LogID      string `json:"log_id"`
			Violations []struct {
				Subject string `json:"subject"`
			} `json:"permission_violations"`
		} `json:"error"`
	}
	if json.Unmarshal(b, &answer) != nil || answer.Code == nil {
		return document{}, &problem{
			zh: fmt.Sprintf("飞书的回答无法理解（HTTP %d），请稍后再试。", resp.StatusCode),
			en: fmt.Sprintf("Feishu's answer cannot be understood (HTTP %d). Please try again later.", resp.StatusCode),
		}
	}
	if *answer.Code != 0 {
		var scopes []string
		for _, v := range answer.Error.Violations {
			scopes = append(scopes, v.Subject)
		}
		return document{}, explainCode(*answer.Code, answer.Msg, scopes)
	}
	return document{ID: id, Text: clean(answer.Data.Content)}, nil
}

// unreachable explains a request that failed on its way, unless the failure is
// the SDK's, which explains itself.
func unreachable(ctx context.Context, err error) error {
	var (
		consent *deputy.AuthorizationError
		refusal *deputy.Error
	)
	if ctx.Err() != nil || errors.As(err, &consent) || errors.As(err, &refusal) {
		return err
	}
	return &problem{zh: "暂时连不上飞书，请稍后再试。", en: "Feishu cannot be reached right now. Please try again later.", cause: err}
}

// explainCode says in words what an error code of Feishu's API means, and what
// to do.
func explainCode(code int, msg string, scopes []string) error {
	wanted := readScope
	if len(scopes) > 0 {
		wanted = strings.Join(scopes, " / ")
	}
	explain := func(cause error, zh, en string) error {
		return &problem{fmt.Sprintf("%s（飞书错误码 %d）", zh, code), fmt.Sprintf("%s (Feishu error %d)", en, code), cause}
	}
	switch code {
	case 99991661, 99991663, 99991668, 99991671, 99991677:
		return explain(deputy.ErrRefused, "飞书不再接受之前的授权，可能已过期或被撤销。请说“重新授权飞书”，然后再试一次。",
			"Feishu no longer accepts the authorization; it may have expired or been withdrawn. Say “re-authorize Feishu” and try again.")
	case 99991672:
		return explain(nil, "飞书应用缺少权限 "+wanted+"。请应用管理员在飞书开放平台的“权限管理”里开通它，并重新发布应用版本；然后说“重新授权飞书”。",
			"The Feishu app lacks the permission "+wanted+". Its administrator has to add it under Permissions & Scopes in the Feishu developer console and publish a new version; then say “re-authorize Feishu”.")
	case 99991676, 99991679:
		return explain(nil, "您的授权里没有权限 "+wanted+"。请管理员把它加到凭据提供方的权限范围里，然后说“重新授权飞书”并同意。",
			"Your authorization does not include the permission "+wanted+". Ask the administrator to add it to the credential provider's scopes, then say “re-authorize Feishu” and agree.")
	case 1770002:
		return explain(nil, "找不到这篇文档。请检查链接是否完整，文档是否已被删除。", "There is no such document. Check that the link is complete and that the document was not deleted.")
	case 1770032:
		return explain(nil, "您的飞书账号没有阅读这篇文档的权限。请向文档所有者申请权限，或者说“重新授权飞书”换一个账号。",
			"Your Feishu account may not read this document. Ask its owner for access, or say “re-authorize Feishu” to use another account.")
	case 99991400:
		return explain(nil, "对飞书的请求太频繁了，请过一会儿再试。", "There were too many requests to Feishu. Please try again in a moment.")
	case 99991543, 99991662, 99991673:
		return explain(nil, "飞书应用已停用或配置有误，请联系管理员。", "The Feishu app is switched off or wrongly configured. Please tell your administrator.")
	case 21000, 21001:
		return explain(nil, "您的组织的安全策略不允许这次访问，请在飞书里完成验证或联系管理员。",
			"Your organisation's security policy does not allow this access. Complete the check in Feishu, or ask your administrator.")
	}
	return explain(nil, "飞书拒绝了读取："+msg, "Feishu refused to give the document: "+msg)
}

package demo

import "github.com/deputy-id/deputy/sandbox/feishu"

// What there is to ask about. Only its owner may read a document.
const (
	docZhangsan       = feishu.DocumentOfZhangSan
	docZhangsanSecond = "VsP2dLnRgoC6kFxTzWmcAq9Hnje" // English
	docLisi           = feishu.DocumentOfLiSi
)

// documentURL is where a document is, as people paste it.
func documentURL(id string) string { return "https://bytedance.larkoffice.com/docx/" + id }

// exampleDocuments are the documents that the chat application offers.
func exampleDocuments() []string {
	return []string{
		docZhangsan + " 张三：第三季度产品规划",
		docZhangsanSecond + " 张三：Incident review",
		docLisi + " 李四：供应链会议纪要",
	}
}

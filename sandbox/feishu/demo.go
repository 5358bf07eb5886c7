package feishu

import (
	"embed"
	"strings"
)

// One document of each default user, for demonstrations.
const (
	DocumentOfZhangSan = "LddRdcWDro6GRdxOdzEck1DdnFd" // Chinese
	DocumentOfLiSi     = "Q7hZdKmVtoXw2RxbPnLcYf3Dngh" // Chinese
	DocumentOfAlice    = "Bx4KdTqWyoN8sJxrHvGcUe5mnPb" // English
)

// DefaultUsers returns the people of a demonstration.
func DefaultUsers() []User {
	return []User{
		{Username: "zhangsan", Password: "sandbox", Name: "张三", EnglishName: "Zhang San", Email: "zhangsan@example.com", Demo: true},
		{Username: "lisi", Password: "sandbox", Name: "李四", EnglishName: "Li Si", Email: "lisi@example.com", Demo: true},
		{Username: "alice", Password: "sandbox", Name: "王爱丽", EnglishName: "Alice Wang", Email: "alice@example.com", Demo: true},
	}
}

//go:embed documents/*.txt
var documentFiles embed.FS

// DefaultDocuments returns two documents of each default user. Each file is
// named after its document; the first line is the title.
func DefaultDocuments() []Document {
	owners := []struct{ id, owner string }{
		{DocumentOfZhangSan, "zhangsan"},
		{"VsP2dLnRgoC6kFxTzWmcAq9Hnje", "zhangsan"},
		{DocumentOfLiSi, "lisi"},
		{"Ke9CdRbXsoT3pVxLuMjcWi7QnZd", "lisi"},
		{DocumentOfAlice, "alice"},
		{"Gt6NdYfHvoE1rSxDkBwcOa8Jnlu", "alice"},
	}
	docs := make([]Document, 0, len(owners))
	for _, o := range owners {
		text, err := documentFiles.ReadFile("documents/" + o.id + ".txt")
		if err != nil {
			panic(err) // embedded by this very package, so a build without the file is broken
		}
		title, body, _ := strings.Cut(string(text), "\n")
		docs = append(docs, Document{ID: o.id, Owner: o.owner, Title: title, Body: strings.TrimSpace(body)})
	}
	return docs
}

// Package peers sets Deputy against real counterparts: certified and popular clients that log people in at a user pool,
// providers that a pool logs people in at, and an MCP server.
//
// All of it is in tests. The clients, the MCP server and one provider run in Node (testdata/node), another provider is Dex, built from a Go
// module of its own (testdata/dex).
package peers

// Package peers sets Deputy against real counterparts: clients that log people in at a user pool, providers that a pool logs people in at, third parties at which agents act for them, and the official MCP client and server with the ingress in between.
//
// All of it is in tests. The clients, one provider and MCP run in Node (testdata/node); Dex and Gitea are built from Go modules of
// their own (testdata/dex, testdata/gitea).
package peers

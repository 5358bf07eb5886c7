// Package peers sets Deputy against real counterparts: clients that log people in at a user pool, providers that a pool logs people in at, third parties at which agents act for them, and the official clients and servers of MCP and A2A with the ingress in between.
//
// All of it is in tests. The clients, one provider, MCP and A2A run in Node (testdata/node); Dex and Gitea are built from Go modules of
// their own (testdata/dex, testdata/gitea).
package peers

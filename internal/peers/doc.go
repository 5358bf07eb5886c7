// Package peers sets Deputy against real counterparts: clients that log people in at a user pool, providers that a pool logs people in at, and third parties at which agents act for them.
//
// All of it is in tests. The clients and one provider run in Node (testdata/node); Dex and Gitea are built from Go modules of
// their own (testdata/dex, testdata/gitea).
package peers

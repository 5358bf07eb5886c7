package rest

import (
	"net/http"

	"github.com/deputy-id/deputy/internal/name"
)

// page are the parameters of lists that come in pages.
var page = []parameter{{"after", "string", "Return what follows the item with this id"}, {"limit", "integer", "At most this many, 1 to 500; 100 if left out"}}

// confirm is the parameter of what cannot be taken back.
var confirm = []parameter{{"confirm", "string", "The name of what is deleted, again"}}

// endpoints is the whole API.
func (a *API) endpoints() []endpoint {
	const (
		get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
		ok, created, nothing       = http.StatusOK, http.StatusCreated, http.StatusNoContent
	)
	return []endpoint{
		{get, "/whoami", "whoami", "identity", "Tell who the caller is", known, nil, nil, ok, whoamiJSON{}, a.whoami},

		{get, "/user-pools", "listUserPools", "user pools", "List the user pools", everybody, nil, nil, ok, list[userPoolJSON]{}, a.listUserPools},
		{post, "/user-pools", "createUserPool", "user pools", "Create a user pool", operators, nil, newUserPool{}, created, userPoolJSON{}, a.createUserPool},
		{get, "/user-pools/{pool}", "getUserPool", "user pools", "Show a user pool", readers, nil, nil, ok, userPoolJSON{}, a.getUserPool},
		{patch, "/user-pools/{pool}", "updateUserPool", "user pools", "Change a user pool; what is left out stays", operators, nil, poolChange{}, ok, userPoolJSON{}, a.updateUserPool},
		{del, "/user-pools/{pool}", "deleteUserPool", "user pools", "Delete a user pool with everything in it", operators, confirm, nil, nothing, nil, a.deleteUserPool},
		{put, "/user-pools/{pool}/logo", "putLogo", "user pools", "Give a pool's pages a logo", operators, nil, newLogo{}, ok, userPoolJSON{}, a.putLogo},
		{del, "/user-pools/{pool}/logo", "deleteLogo", "user pools", "Give a pool's pages Deputy's logo again", operators, nil, nil, ok, userPoolJSON{}, a.deleteLogo},
		{get, "/user-pools/{pool}/users", "listUsers", "users", "List a pool's users", readers, userQuery, nil, ok, list[userJSON]{}, a.listUsers},
		{post, "/user-pools/{pool}/users", "createUser", "users", "Create a user", operators, nil, newUser{}, created, userJSON{}, a.createUser},
		{get, "/user-pools/{pool}/users/{user}", "getUser", "users", "Show a user", readers, nil, nil, ok, userJSON{}, a.getUser},
		{patch, "/user-pools/{pool}/users/{user}", "changeUser", "users", "Change a user; what is left out stays", operators, nil, changedUser{}, ok, userJSON{}, a.changeUser},
		{del, "/user-pools/{pool}/users/{user}", "deleteUser", "users", "Delete a user", operators, nil, nil, nothing, nil, a.deleteUser},
		{put, "/user-pools/{pool}/users/{user}/password", "setPassword", "users", "Give a user a password; his sessions end", operators, nil, newPassword{}, nothing, nil, a.setPassword},
		{get, "/user-pools/{pool}/users/{user}/sessions", "listSessions", "users", "List where a user is logged in", readers, nil, nil, ok, list[sessionJSON]{}, a.listSessions},
		{del, "/user-pools/{pool}/users/{user}/sessions", "endSessions", "users", "End all sessions of a user", operators, nil, nil, nothing, nil, a.endAllSessions},
		{del, "/user-pools/{pool}/users/{user}/sessions/{session}", "endSession", "users", "End a session of a user", operators, nil, nil, nothing, nil, a.endSession},
		{get, "/user-pools/{pool}/users/{user}/consents", "listConsents", "users", "List what a user allowed applications", readers, nil, nil, ok, list[consentJSON]{}, a.listConsents},
		{del, "/user-pools/{pool}/users/{user}/consents/{client}", "deleteConsent", "users", "Take back what a user allowed an application; its tokens end", operators, nil, nil, nothing, nil, a.deleteConsent},
		{get, "/user-pools/{pool}/users/{user}/factors", "listFactors", "users", "List a user's second factors", readers, nil, nil, ok, factorsJSON{}, a.listFactors},
		{del, "/user-pools/{pool}/users/{user}/factors", "resetFactors", "users", "Remove a user's second factors and recovery codes, as when he has lost them", operators, nil, nil, nothing, nil, a.resetFactors},
		{del, "/user-pools/{pool}/users/{user}/factors/{factor}", "removeFactor", "users", "Remove one of a user's second factors", operators, nil, nil, nothing, nil, a.removeFactor},
		{get, "/user-pools/{pool}/groups", "listGroups", "groups", "List a pool's groups", readers, page, nil, ok, list[groupJSON]{}, a.listGroups},
		{post, "/user-pools/{pool}/groups", "createGroup", "groups", "Create a group", operators, nil, newGroup{}, created, groupJSON{}, a.createGroup},
		{get, "/user-pools/{pool}/groups/{group}", "getGroup", "groups", "Show a group", readers, nil, nil, ok, groupJSON{}, a.getGroup},
		{patch, "/user-pools/{pool}/groups/{group}", "changeGroup", "groups", "Change a group; what is left out stays", operators, nil, changedGroup{}, ok, groupJSON{}, a.changeGroup},
		{del, "/user-pools/{pool}/groups/{group}", "deleteGroup", "groups", "Delete a group; its members stay", operators, nil, nil, nothing, nil, a.deleteGroup},
		{get, "/user-pools/{pool}/groups/{group}/members", "listMembers", "groups", "List a group's members", readers, page, nil, ok, list[memberJSON]{}, a.listMembers},
		{post, "/user-pools/{pool}/groups/{group}/members", "changeMembers", "groups", "Add and remove members", operators, nil, changedMembers{}, nothing, nil, a.changeMembers},
		{post, "/user-pools/{pool}/imports", "importUsers", "users", "Import users from CSV or JSON lines; the answer has a line for each", operators, importQuery, upload{}, ok, importLine{}, a.importUsers},
		{get, "/user-pools/{pool}/provisioning-tokens", "listProvisioningTokens", "provisioning", "List what may keep a pool's users by SCIM", readers, nil, nil, ok, list[provisioningJSON]{}, a.listProvisioning},
		{post, "/user-pools/{pool}/provisioning-tokens", "createProvisioningToken", "provisioning", "Create a token for SCIM; it is shown once", operators, nil, newProvisioning{}, created, provisioningJSON{}, a.createProvisioning},
		{del, "/user-pools/{pool}/provisioning-tokens/{token}", "deleteProvisioningToken", "provisioning", "Revoke a token for SCIM at once", operators, nil, nil, nothing, nil, a.deleteProvisioning},

		{get, "/user-pools/{pool}/clients", "listClients", "clients", "List a pool's clients", readers, nil, nil, ok, list[clientJSON]{}, a.listClients},
		{post, "/user-pools/{pool}/clients", "createClient", "clients", "Create a client; its secret is shown once", operators, nil, newClient{}, created, clientJSON{}, a.createClient},
		{get, "/user-pools/{pool}/clients/{client}", "getClient", "clients", "Show a client", readers, nil, nil, ok, clientJSON{}, a.getClient},
		{patch, "/user-pools/{pool}/clients/{client}", "changeClient", "clients", "Change a client; if that gives it a secret, it is shown once", operators, nil, changedClient{}, ok, clientJSON{}, a.changeClient},
		{del, "/user-pools/{pool}/clients/{client}", "deleteClient", "clients", "Delete a client", operators, nil, nil, nothing, nil, a.deleteClient},
		{post, "/user-pools/{pool}/clients/{client}/secret", "regenerateClientSecret", "clients", "Give a client a new secret; the old one ends at once", operators, nil, nil, ok, clientJSON{}, a.regenerateSecret},
		{get, "/user-pools/{pool}/initial-tokens", "listInitialTokens", "clients", "List the tokens with which clients may register themselves", readers, nil, nil, ok, list[initialTokenJSON]{}, a.listInitialTokens},
		{post, "/user-pools/{pool}/initial-tokens", "createInitialToken", "clients", "Create an initial access token (RFC 7591); it is shown once", operators, nil, newInitialToken{}, created, initialTokenJSON{}, a.createInitialToken},
		{del, "/user-pools/{pool}/initial-tokens/{token}", "deleteInitialToken", "clients", "Revoke an initial access token", operators, nil, nil, nothing, nil, a.deleteInitialToken},

		{get, "/user-pools/{pool}/identity-providers", "listIdentityProviders", "identity providers", "List a pool's external identity providers", readers, nil, nil, ok, list[idpJSON]{}, a.listIdentityProviders},
		{post, "/user-pools/{pool}/identity-providers", "createIdentityProvider", "identity providers", "Create an external identity provider and test it", operators, nil, idpSettings{}, created, idpJSON{}, a.createIdentityProvider},
		{get, "/user-pools/{pool}/identity-providers/{idp}", "getIdentityProvider", "identity providers", "Show an external identity provider", readers, nil, nil, ok, idpJSON{}, a.getIdentityProvider},
		{put, "/user-pools/{pool}/identity-providers/{idp}", "updateIdentityProvider", "identity providers", "Replace an external identity provider's settings and test them", operators, nil, idpSettings{}, ok, idpJSON{}, a.updateIdentityProvider},
		{del, "/user-pools/{pool}/identity-providers/{idp}", "deleteIdentityProvider", "identity providers", "Delete an external identity provider; its users stay", operators, nil, nil, nothing, nil, a.deleteIdentityProvider},
		{post, "/user-pools/{pool}/identity-providers/{idp}/test", "testIdentityProvider", "identity providers", "Ask an external identity provider whether its settings work", operators, nil, nil, ok, idpJSON{}, a.testIdentityProvider},

		{get, "/user-pools/{pool}/keys", "listSigningKeys", "signing keys", "List a pool's published signing keys", readers, nil, nil, ok, list[signingKeyJSON]{}, a.listSigningKeys},
		{post, "/user-pools/{pool}/keys", "rotateSigningKey", "signing keys", "Make the next signing key of a pool, or show the one that waits already", owners, nil, rotation{}, ok, signingKeyJSON{}, a.rotateSigningKey},
		{get, "/token-keys/{tokens}", "listTokenKeys", "signing keys", "List the published keys of workload-tokens or launch-tokens", readers, nil, nil, ok, list[signingKeyJSON]{}, a.listTokenKeys},
		{post, "/token-keys/{tokens}", "rotateTokenKey", "signing keys", "Make the next key of workload-tokens or launch-tokens", owners, nil, nil, ok, signingKeyJSON{}, a.rotateTokenKey},

		{get, "/data-keys", "listDataKeys", "data keys", "List the data keys of all pools and how many records each seals", readers, nil, nil, ok, list[dataKeyJSON]{}, a.listDataKeys},
		{post, "/data-keys", "rotateDataKeys", "data keys", "Make every pool's next data key, or go on with a rotation that is under way", owners, nil, nil, ok, list[dataKeyJSON]{}, a.rotateDataKeys},
		{post, "/data-keys/reseal", "resealRecords", "data keys", "Seal some of the records anew that former data keys seal, until none is left", owners, nil, nil, ok, resealJSON{}, a.reseal},
		{post, "/data-keys/rewrap", "rewrapDataKeys", "data keys", "Wrap some of the data keys with the root key that the service was started with, in its newest version, until none is left", owners, nil, nil, ok, rewrapJSON{}, a.rewrap},

		{get, "/workload-pools", "listWorkloadPools", "workloads", "List the workload pools", everybody, nil, nil, ok, list[workloadPoolJSON]{}, a.listWorkloadPools},
		{post, "/workload-pools", "createWorkloadPool", "workloads", "Create a workload pool", operators, nil, newWorkloadPool{}, created, workloadPoolJSON{}, a.createWorkloadPool},
		{get, "/workload-pools/{pool}", "getWorkloadPool", "workloads", "Show a workload pool", readers, nil, nil, ok, workloadPoolJSON{}, a.getWorkloadPool},
		{get, "/workload-pools/{pool}/workloads", "listWorkloads", "workloads", "List a pool's workloads", readers, nil, nil, ok, list[workloadJSON]{}, a.listWorkloads},
		{post, "/workload-pools/{pool}/workloads", "createWorkload", "workloads", "Create a workload", operators, nil, newWorkload{}, created, workloadJSON{}, a.createWorkload},
		{get, "/workload-pools/{pool}/workloads/{workload}", "getWorkload", "workloads", "Show a workload", readers, nil, nil, ok, workloadJSON{}, a.getWorkload},
		{put, "/workload-pools/{pool}/workloads/{workload}", "updateWorkload", "workloads", "Replace a workload's settings", operators, nil, workloadSettings{}, ok, workloadJSON{}, a.updateWorkload},
		{del, "/workload-pools/{pool}/workloads/{workload}", "deleteWorkload", "workloads", "Delete a workload and what was delegated to it", operators, nil, nil, nothing, nil, a.deleteWorkload},
		{post, "/workload-pools/{pool}/workloads/{workload}/revoke-tokens", "revokeWorkloadTokens", "workloads", "End all access tokens that a workload has", operators, nil, nil, nothing, nil, a.revokeTokens},
		{post, "/user-pools/{pool}/users/{user}/revoke-tokens", "revokeUserTokens", "users", "End all access tokens that agents have for a user", operators, nil, nil, nothing, nil, a.revokeUserTokens},
		{post, "/foreign-users/revoke-tokens", "revokeForeignUserTokens", "users", "End all access tokens that agents have for a user of any issuer", operators, nil, name.User{}, nothing, nil, a.revokeForeignTokens},

		{get, "/workload-pools/{pool}/attestors", "listAttestors", "attestors", "List who vouches for a pool's workloads", readers, nil, nil, ok, list[attestorJSON]{}, a.listAttestors},
		{post, "/workload-pools/{pool}/attestors", "createAttestor", "attestors", "Have a cluster or a SPIFFE trust domain vouch for workloads, once it was asked", operators, nil, newAttestor{}, created, attestorJSON{}, a.createAttestor},
		{get, "/workload-pools/{pool}/attestors/{attestor}", "getAttestor", "attestors", "Show an attestor", readers, nil, nil, ok, attestorJSON{}, a.getAttestor},
		{put, "/workload-pools/{pool}/attestors/{attestor}", "updateAttestor", "attestors", "Replace an attestor's settings", operators, nil, attestorChange{}, ok, attestorJSON{}, a.updateAttestor},
		{del, "/workload-pools/{pool}/attestors/{attestor}", "deleteAttestor", "attestors", "Delete an attestor", operators, nil, nil, nothing, nil, a.deleteAttestor},
		{get, "/workload-pools/{pool}/workloads/{workload}/access-keys", "listAccessKeys", "workloads", "List a workload's access keys", readers, nil, nil, ok, list[accessKeyJSON]{}, a.listAccessKeys},
		{post, "/workload-pools/{pool}/workloads/{workload}/access-keys", "createAccessKey", "workloads", "Create an access key; its secret is shown once", operators, nil, newAccessKey{}, created, accessKeyJSON{}, a.createAccessKey},
		{del, "/workload-pools/{pool}/workloads/{workload}/access-keys/{key}", "deleteAccessKey", "workloads", "Delete an access key at once", operators, nil, nil, nothing, nil, a.deleteAccessKey},

		{get, "/vendors", "listVendors", "credential providers", "List the vendors that Deputy knows", everybody, nil, nil, ok, list[vendorJSON]{}, a.listVendors},
		{get, "/workload-pools/{pool}/providers", "listProviders", "credential providers", "List a pool's credential providers", readers, nil, nil, ok, list[providerJSON]{}, a.listProviders},
		{post, "/workload-pools/{pool}/providers", "createProvider", "credential providers", "Create a credential provider", operators, nil, newProvider{}, created, providerJSON{}, a.createProvider},
		{get, "/workload-pools/{pool}/providers/{provider}", "getProvider", "credential providers", "Show a credential provider", readers, nil, nil, ok, providerJSON{}, a.getProvider},
		{put, "/workload-pools/{pool}/providers/{provider}", "updateProvider", "credential providers", "Replace a credential provider's settings", operators, nil, providerSettings{}, ok, providerJSON{}, a.updateProvider},
		{del, "/workload-pools/{pool}/providers/{provider}", "deleteProvider", "credential providers", "Delete a credential provider and all grants to it", operators, nil, nil, nothing, nil, a.deleteProvider},
		{post, "/workload-pools/{pool}/providers/{provider}/check", "checkProvider", "credential providers", "Find out what can be known about a credential provider without a person", operators, nil, nil, ok, providerJSON{}, a.checkProvider},
		{post, "/workload-pools/{pool}/providers/{provider}/tests", "testProvider", "credential providers", "Try a credential provider out, as far as that needs nobody; the rest is behind a link for a browser", operators, nil, nil, created, trialJSON{}, a.beginTrial},
		{get, "/workload-pools/{pool}/providers/{provider}/tests/{trial}", "getProviderTest", "credential providers", "Show how a test went, waiting for its end if asked to", readers, waiting, nil, ok, trialJSON{}, a.getTrial},

		{get, "/workload-pools/{pool}/grants", "listGrants", "grants", "List the grants in a pool", readers, grantQuery, nil, ok, list[grantJSON]{}, a.listGrants},
		{get, "/workload-pools/{pool}/grants/{grant}", "getGrant", "grants", "Show a grant", readers, nil, nil, ok, grantJSON{}, a.getGrant},
		{del, "/workload-pools/{pool}/grants/{grant}", "deleteGrant", "grants", "Delete a grant with its delegations; its tokens are revoked at the third party", operators, nil, nil, nothing, nil, a.deleteGrant},
		{get, "/workload-pools/{pool}/delegations", "listDelegations", "grants", "List which workloads may use whose grants", readers, delegationQuery, nil, ok, list[delegationJSON]{}, a.listDelegations},
		{get, "/workload-pools/{pool}/delegations/{delegation}", "getDelegation", "grants", "Show a delegation", readers, nil, nil, ok, delegationJSON{}, a.getDelegation},
		{del, "/workload-pools/{pool}/delegations/{delegation}", "deleteDelegation", "grants", "Delete a delegation, and its grant when no other workload may use it", operators, nil, nil, nothing, nil, a.deleteDelegation},
		{get, "/workload-pools/{pool}/events", "followEvents", "webhooks", "Follow what happens to authorizations and grants as server-sent events", readers, eventsQuery, nil, ok, nil, a.followEvents},
		{get, "/workload-pools/{pool}/webhooks", "listWebhooks", "webhooks", "List who is told of what happens to authorizations and grants", readers, nil, nil, ok, list[webhookJSON]{}, a.listWebhooks},
		{post, "/workload-pools/{pool}/webhooks", "createWebhook", "webhooks", "Create a webhook, once it has taken a ping; its secret is shown once", operators, nil, newWebhook{}, created, webhookJSON{}, a.createWebhook},
		{get, "/workload-pools/{pool}/webhooks/{webhook}", "getWebhook", "webhooks", "Show a webhook", readers, nil, nil, ok, webhookJSON{}, a.getWebhook},
		{del, "/workload-pools/{pool}/webhooks/{webhook}", "deleteWebhook", "webhooks", "Delete a webhook", operators, nil, nil, nothing, nil, a.deleteWebhook},
		{post, "/workload-pools/{pool}/webhooks/{webhook}/enable", "enableWebhook", "webhooks", "Tell a webhook again that was disabled because nobody took its deliveries", operators, nil, nil, nothing, nil, a.enableWebhook},
		{post, "/workload-pools/{pool}/webhooks/{webhook}/ping", "pingWebhook", "webhooks", "Send a webhook a test", operators, nil, nil, nothing, nil, a.pingWebhook},
		{get, "/workload-pools/{pool}/webhooks/{webhook}/deliveries", "listDeliveries", "webhooks", "List what a webhook was told lately, or is still to be told", readers, deliveriesQuery, nil, ok, list[deliveryJSON]{}, a.listDeliveries},
		{get, "/workload-pools/{pool}/revocations", "listRevocations", "grants", "List what is still to be revoked at third parties", readers, page, nil, ok, list[revocationJSON]{}, a.listRevocations},

		{get, "/workload-pools/{pool}/agents", "listAgents", "agents", "List a pool's agents", readers, nil, nil, ok, list[agentJSON]{}, a.listAgents},
		{post, "/workload-pools/{pool}/agents", "deployAgent", "agents", "Deploy an agent, or a new version of it", operators, nil, newAgent{}, created, agentJSON{}, a.deployAgent},
		{post, "/workload-pools/{pool}/agent-objects", "showAgentObjects", "agents", "Show what an agent would be in the cluster, without deploying it", operators, nil, newAgent{}, ok, objectsJSON{}, a.showObjects},
		{get, "/workload-pools/{pool}/agents/{agent}", "getAgent", "agents", "Show an agent and what it is doing", readers, nil, nil, ok, agentJSON{}, a.getAgent},
		{del, "/workload-pools/{pool}/agents/{agent}", "deleteAgent", "agents", "Stop and delete an agent", operators, nil, nil, nothing, nil, a.deleteAgent},
		{post, "/workload-pools/{pool}/agents/{agent}/start", "startAgent", "agents", "Start an agent, or start it again", operators, nil, nil, ok, agentJSON{}, a.startAgent},
		{post, "/workload-pools/{pool}/agents/{agent}/stop", "stopAgent", "agents", "Stop an agent", operators, nil, nil, ok, agentJSON{}, a.stopAgent},
		{post, "/workload-pools/{pool}/builds", "buildAgent", "agents", "Build an agent without running it", operators, nil, newAgent{}, created, buildJSON{}, a.buildAgent},
		{get, "/workload-pools/{pool}/agents/{agent}/builds", "listBuilds", "agents", "List what is kept of an agent's builds, the newest first", readers, nil, nil, ok, list[buildJSON]{}, a.listBuilds},
		{post, "/workload-pools/{pool}/agents/{agent}/run", "runBuild", "agents", "Run a build, newest or earlier", operators, nil, runBuild{}, ok, agentJSON{}, a.runBuild},
		{get, "/workload-pools/{pool}/agents/{agent}/logs", "agentLogs", "agents", "Show the last lines that an agent wrote", readers,
			[]parameter{{"lines", "integer", "At most this many, 1 to 1000; 100 if left out"}}, nil, ok, logsJSON{}, a.agentLogs},
		{get, "/workload-pools/{pool}/agents/{agent}/logs/stream", "followAgentLogs", "agents", "Follow what an agent writes as server-sent events", readers,
			[]parameter{{"lines", "integer", "How many of the last lines come first, 0 to 1000; 100 if left out"}, {"after", "string", "The id of the last event that was read; it wins over lines"}}, nil, ok, nil, a.followAgentLogs},
		{get, "/workload-pools/{pool}/agents/{agent}/keys", "listAgentKeys", "agents", "List what may call an agent with a key", readers, nil, nil, ok, list[agentKeyJSON]{}, a.listAgentKeys},
		{post, "/workload-pools/{pool}/agents/{agent}/keys", "createAgentKey", "agents", "Create a key to call an agent with; it is shown once", operators, nil, newAgentKey{}, created, agentKeyJSON{}, a.createAgentKey},
		{del, "/workload-pools/{pool}/agents/{agent}/keys/{key}", "deleteAgentKey", "agents", "Revoke an agent's key at once", operators, nil, nil, nothing, nil, a.deleteAgentKey},

		{get, "/operator-tokens", "listOperatorTokens", "operators", "List the operators' tokens; never the tokens themselves", readers, nil, nil, ok, list[operatorTokenJSON]{}, a.listOperatorTokens},
		{post, "/operator-tokens", "createOperatorToken", "operators", "Create an operator's token; it is shown once", owners, nil, newOperatorToken{}, created, operatorTokenJSON{}, a.createOperatorToken},
		{del, "/operator-tokens/{token}", "deleteOperatorToken", "operators", "Revoke an operator's token at once; the last owner's stays", owners, nil, nil, nothing, nil, a.deleteOperatorToken},

		{get, "/audit", "listAudit", "audit", "Read the audit log", readers, auditQuery, nil, ok, list[recordJSON]{}, a.listAudit},
		{get, "/audit/stream", "followAudit", "audit", "Follow the audit log as server-sent events", readers, followQuery, nil, ok, nil, a.followAudit},
		{get, "/audit/verify", "verifyAudit", "audit", "Check the audit log's hash chain from its beginning", readers, nil, nil, ok, chainJSON{}, a.verifyAudit},

		{post, "/workload-tokens", "getWorkloadToken", "credentials", "Exchange the proof of a workload's identity for a workload access token: for a user's token, for a user's id, for an agent's call, or for the workload itself", attested, nil, tokenRequest{}, ok, tokenJSON{}, a.exchange},
		{post, "/call-tokens", "getCallToken", "credentials", "Get what this agent calls another one with, for its user", agents, nil, callRequest{}, ok, callJSON{}, a.callAgent},
		{post, "/credentials", "getCredential", "credentials", "Get a credential for the user, or a link at which he can give it", agents, nil, credentialRequest{}, ok, credentialAnswer{}, a.credential},
		{del, "/credentials/{provider}", "clearCredential", "credentials", "Give back what this agent may use of the user's credential", agents, nil, nil, nothing, nil, a.clearCredential},
		{get, "/authorizations/{authorization}", "getAuthorization", "credentials", "Read an authorization, waiting for its end if asked to", agents,
			waiting, nil, ok, authorizationJSON{}, a.getAuthorization},
		{get, "/authorizations/{authorization}/events", "followAuthorization", "credentials", "Follow an authorization as server-sent events", agents, nil, nil, ok, nil, a.followAuthorization},
	}
}

// list is a page of a list; Next, if there is one, is the "after" of the next page.
type list[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty"`
}

// listOf converts items, never to null.
func listOf[A, B any](items []A, convert func(A) B) list[B] {
	l := list[B]{Items: make([]B, len(items))}
	for i, item := range items {
		l.Items[i] = convert(item)
	}
	return l
}

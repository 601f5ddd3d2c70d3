// Package webhook sends notices to webhooks by HTTP.
//
// Invariant: a webhook of a group reaches no address that only the nodes can reach, unless an administrator of the cloud
// has allowed that. No error names the URL, because its path may be a password.
package webhook

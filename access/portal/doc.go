// Package portal asks people for their password at hosts that require a log-in. The router leads to it below one path
// of such a host, and judges the cookie that the portal sets.
//
// The invariant: only a page of the same host can send the form, the way back after it is a path of the same host, and
// nothing that was typed is in an answer.
package portal

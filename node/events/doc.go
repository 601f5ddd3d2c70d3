// Package events keeps recent events of the cloud for users (micro events).
//
// Most events are differences between two views, which compare finds. Events that are not visible in a view, such as
// the end of a job, are added by the code that causes them. The buffer is in memory and limited: the audit log of
// the store has the actions of users for longer.
package events

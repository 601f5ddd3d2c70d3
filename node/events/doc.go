// Package events keeps what happened in the cloud lately, for people who watch it (micro events).
//
// Most events are the difference between two views, which compare finds; what does not show in a view, such as
// how a job ended, is added by whoever did it. The buffer is in memory and has an end: the audit log of the
// store has what people did for longer.
package events

// Package succession lets another program take this process's place: a newer micro, mostly.
//
// The process executes the other program (execve(2)). So the process ID stays, and whoever supervises micro notices
// nothing. Listening sockets stay open over it: clients that connect meanwhile wait in the kernel. Apps run on, because
// their shims are processes of their own.
//
// In a cloud of several nodes only one at a time goes (Turn).
package succession

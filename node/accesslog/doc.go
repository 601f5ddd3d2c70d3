// Package accesslog writes a line for every request to the log of the app that answered it (micro logs --stream
// router). A line costs no allocation: it is written on the way of each request.
package accesslog

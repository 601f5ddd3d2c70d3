// Package accesslog writes a line for every request to the log of the app that answered it (micro logs --stream
// router). A line allocates nothing, because it is written in the path of each request.
package accesslog

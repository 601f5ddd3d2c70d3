// Package logs keeps what apps print, and what micro has to say about them.
//
// The shim of an instance writes its output to a file (its raw file), whether micro runs or not: a kill of
// micro neither blocks the app nor costs a line. A collector copies whole lines from there to the
// app's journal, a row of segments bounded in size, and gives the raw file's space back by punching
// holes behind what is copied, so that offsets never shift under the writer. Where no collector does so, the
// shim itself gives back what is older than a journal would keep.
//
// Lines about requests, which clients cause, are in a journal of their own beside the app's (requests/), with a
// limit of its own. A reader gets both, merged by time; its cursor has a place in each.
//
// Every record of a journal carries the offset in the raw file at which its line ended. A restarted
// collector finds the highest one and goes on from there: no line is lost and none is doubled, and
// there is no second file that could disagree.
package logs

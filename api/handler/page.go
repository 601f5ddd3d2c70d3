package handler

import (
	"iter"

	"github.com/protoduction/micro/api"
)

// Paging is part of the input of every list.
type Paging struct {
	After string `query:"after" maxLength:"1000" doc:"Where the page before ended"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"Items of this page"`
}

// page makes a page of what seq yields in the order of its keys. Only what is on the page is converted.
func page[S, T any](seq iter.Seq[S], p Paging, key func(S) string, convert func(S) T) api.List[T] {
	list := api.List[T]{Items: []T{}}
	last := ""
	for s := range seq {
		k := key(s)
		if p.After != "" && k <= p.After {
			continue
		}
		if len(list.Items) == p.Limit {
			list.Next = last
			break
		}
		list.Items = append(list.Items, convert(s))
		last = k
	}
	return list
}

// filter yields what keep keeps of seq.
func filter[T any](seq iter.Seq[T], keep func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range seq {
			if keep(v) && !yield(v) {
				return
			}
		}
	}
}

// whole is a list that is short by nature.
func whole[T any](items []T) api.List[T] {
	if items == nil {
		items = []T{}
	}
	return api.List[T]{Items: items}
}

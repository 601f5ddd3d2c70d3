package api

// Limits of what one request may carry.
const (
	MaxBody        = 1 << 20 // bytes of a JSON body
	MaxPushRequest = 8 << 20 // bytes of a push's request, which may have secrets of the build
	MaxUpload      = 4 << 30 // bytes of an uploaded folder or archive
)

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"This page's items, in a stable order"`
	Next  string `json:"next,omitempty" doc:"Pass it as after to get the next page; missing on the last one"`
}

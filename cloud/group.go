package cloud

import "time"

// Group owns apps and services.
type Group struct {
	Name    GroupName `json:"name"`
	Created time.Time `json:"created"`
	// Number is the group's for ever: its range of user ids and its side of the network's walls.
	Number uint32 `json:"number"`
}

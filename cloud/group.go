package cloud

import "time"

// Group owns apps and services.
type Group struct {
	Name    GroupName `json:"name"`
	Created time.Time `json:"created"`
	// Number is the group's for ever: its range of user ids and its side of the network's walls.
	Number uint32 `json:"number"`
}

// Key is "groups/NAME".
func (g *Group) Key() Key { return groupKey(g.Name) }

func (g *Group) touch(t *touched)  { t.all = true }
func (g *Group) indexes() []string { return nil }

func groupKey(n GroupName) Key { return Key("groups/" + string(n)) }

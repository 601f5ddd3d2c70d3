package ctrd

// Runc is the program that containers are started with, for others who start some.
func (d *Driver) Runc() string { return d.helpers.Runc }

// PrepareState makes the folder that StateDir names, in memory. Open does so too; whoever keeps things
// in it before that calls this first.
func PrepareState(dir string) error { return prepareState(dir) }

// RemoveState takes that folder away. Nothing may run in it any more.
func RemoveState(dir string) error { return removeState(dir) }

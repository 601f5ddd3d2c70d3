package ctrd

// Runc is the program that containers are started with, for others who start some.
func (d *Driver) Runc() string { return d.helpers.Runc }

// RemoveState takes away the folder that StateDir names. Nothing may run in it any more.
func RemoveState(dir string) error { return removeState(dir) }

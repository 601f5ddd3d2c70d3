package cloud

// Shipped returns what a push to another cloud asks for, so that the release runs there as it does here. Hosts,
// environment and labels of nodes belong to a cloud and are left out.
func (r *Release) Shipped() PushSpec {
	s := r.Spec
	d := PushSpec{
		Processes: map[ProcessName]ProcessSpec{}, Volumes: append([]Volume{}, s.Volumes...), Strategy: &s.Strategy, Overlap: &s.Overlap,
		Labels: s.Labels, Annotations: s.Annotations, Cron: s.Cron, Guards: append([]MetricGuard{}, s.Guards...), NoWeb: true,
	}
	for name, p := range s.Processes {
		scale, protocol, init := r.Formation[name], p.Protocol, !p.NoInit
		ship := ProcessSpec{
			Instances: &scale.Instances, Memory: &scale.Memory, Startup: &p.Startup, StopGrace: &p.StopGrace, Init: &init,
			Liveness: &p.Liveness, Readiness: &p.Readiness,
		}
		if p.Command != "" {
			ship.Command = &p.Command
		}
		if p.Port != 0 {
			ship.Port = &p.Port
		}
		if protocol != "" {
			ship.Protocol = &protocol
		}
		if scale.CPU != 0 {
			ship.CPU = &scale.CPU
		}
		if scale.Disk != 0 {
			ship.Disk = &scale.Disk
		}
		d.Processes[name] = ship
		d.NoWeb = d.NoWeb && name != Web
	}
	return d
}

// Unscaled returns the spec without how much of each process is to run: the other cloud keeps what it has.
func (d PushSpec) Unscaled() PushSpec {
	processes := make(map[ProcessName]ProcessSpec, len(d.Processes))
	for name, p := range d.Processes {
		p.Instances, p.Memory, p.CPU, p.Disk = nil, nil, nil, nil
		processes[name] = p
	}
	d.Processes = processes
	return d
}

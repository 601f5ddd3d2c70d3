package cloud

// HostFree reports, as an error of code Conflict, that a host may not be mapped: the addresses that the
// domain d gives to apps, releases and the API belong to them.
func (s *State) HostFree(d Domain, host Host) error {
	taken := func(by string) error {
		return Errorf(Conflict, "host %s is the address of %s", host, by).WithHint("choose another host")
	}
	if !d.Contains(host) {
		return nil
	}
	if host == d.API() || string(host) == string(d) {
		return taken("the API")
	}
	if string(host) == "*."+string(d) {
		// A public route for it would give the public an answer for every internal name.
		return taken("every app of the domain")
	}
	for app := range s.Apps("") {
		if d.App(app.AppRef) == host {
			return taken("app " + app.AppRef.String())
		}
		for rel := range s.Releases(app.AppRef) {
			if d.Release(rel.ReleaseRef, rel.Created) == host {
				return taken("release " + rel.ReleaseRef.String())
			}
		}
	}
	return nil
}

// HostsFree reports that an app's manifest may not map one of its routes, or that the address which a new
// app would get is mapped to something else. The app's own address may be among the routes.
func (s *State) HostsFree(d Domain, app AppRef, routes []RouteSpec) error {
	own := d.App(app)
	if _, known := s.App(app); !known {
		if _, mapped := s.VirtualHost(own); mapped {
			return Errorf(Conflict, "app %s would have the address %s, which is mapped to something else", app, own).
				WithHint("micro unmap %s --release-host, or choose another name with --app", own)
		}
	}
	for _, r := range routes {
		if r.Host == own {
			continue
		}
		if err := s.HostFree(d, r.Host); err != nil {
			return err
		}
	}
	return nil
}

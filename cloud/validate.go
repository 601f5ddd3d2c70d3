package cloud

import (
	"regexp"
	"slices"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// toldNames are variables that tell an instance of itself; so do all that begin with CF_INSTANCE_.
var toldNames = []string{"MICRO_APP", "MICRO_GROUP", "MICRO_RELEASE", "MICRO_INSTANCE", "VCAP_APPLICATION", "VCAP_SERVICES", "SERVICE_BINDING_ROOT"}

// CheckEnvName reports what keeps a name from being a variable's that an app may set. Those that tell it of
// itself have the last word: a value from elsewhere would be dropped.
func CheckEnvName(name string) error {
	if slices.Contains(toldNames, name) || strings.HasPrefix(name, "CF_INSTANCE_") {
		return Errorf(Invalid, "environment variable %s cannot be set: micro sets it itself", name)
	}
	if !envName.MatchString(name) {
		return Errorf(Invalid, "environment variable %q: a name begins with a letter or _ and goes on with letters, digits and _ . -", name)
	}
	return nil
}

// ownUse are variables that programs and shells need for something else; so do all that begin with LD_.
var ownUse = []string{"PATH", "PORT", "HOME", "USER", "SHELL", "LANG", "TMPDIR", "HOSTNAME", "MEMORY_LIMIT", "IFS", "ENV"}

// CheckBoundVariable reports what keeps a variable from having what a binding tells an app.
func CheckBoundVariable(name string) error {
	if slices.Contains(ownUse, name) || strings.HasPrefix(name, "LD_") {
		return Errorf(Invalid, "environment variable %s cannot tell an app of a service: programs need it for something else", name)
	}
	return CheckEnvName(name)
}

// errorsOf reports everything that is wrong with what a release is to run, all at once.
func errorsOf(s Spec, f Formation) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, Errorf(Invalid, format, args...)) }
	for _, name := range sortedKeys(s.Processes) {
		p := s.Processes[name]
		if err := name.Validate(); err != nil {
			errs = append(errs, err)
		}
		if p.Port < 0 || p.Port > 65535 || name == Web && p.Port == 0 {
			bad("process %s: port %d is not between 1 and 65535", name, p.Port)
		}
		if p.Protocol != "" && p.Protocol != ProtocolHTTP2 {
			bad("process %s: protocol %q is neither http1 nor http2", name, p.Protocol)
		}
		for i, c := range []Check{p.Liveness, p.Readiness} {
			kind := [...]string{"health", "readiness health"}[i]
			if !slices.Contains([]CheckType{CheckPort, CheckHTTP, CheckGRPC, CheckProcess, CheckCommand}, c.Type) {
				bad("process %s: %s check type %q is not one of port, http, grpc, process, command", name, kind, c.Type)
			}
			if c.Type == CheckCommand && c.Script == "" {
				bad("process %s: %s check of type command has no command", name, kind)
			}
			if c.Type != CheckProcess && p.Port == 0 {
				bad("process %s: %s check of type %s needs a port", name, kind, c.Type)
			}
			if c.Type == CheckHTTP && !strings.HasPrefix(c.Path, "/") {
				bad("process %s: %s check endpoint %q does not start with /", name, kind, c.Path)
			}
			if c.Interval < 0 || c.Timeout < 0 {
				bad("process %s: %s check has a negative time", name, kind)
			}
		}
		if p.Startup <= 0 {
			bad("process %s: timeout must be more than 0", name)
		}
		if p.StopGrace < 0 {
			bad("process %s: stop grace must not be negative", name)
		}
	}
	errs = append(errs, f.Validate(), validateGuards(s.Guards))
	if len(s.Cron) > MaxJobs {
		bad("%d jobs are more than %d", len(s.Cron), MaxJobs)
	}
	for _, j := range s.Cron {
		errs = append(errs, j.Validate())
	}
	errs = append(errs, errorsOfEnv(s.Env))
	names, paths := map[string]bool{}, map[string]bool{}
	for _, v := range s.Volumes {
		errs = append(errs, v.Validate())
		if names[v.Name] || paths[v.Path] {
			bad("volume %q at %q: the name or the path is given twice", v.Name, v.Path)
		}
		names[v.Name], paths[v.Path] = true, true
	}
	errs = append(errs, s.crowded(f))
	if !slices.Contains([]StrategyKind{Rolling, Cutover, Recreate}, s.Strategy.Kind) {
		bad("strategy %q is not one of rolling, cutover, recreate", s.Strategy.Kind)
	}
	if s.Strategy.Batch < 0 {
		bad("strategy batch %d is negative", s.Strategy.Batch)
	}
	if surge := s.Strategy.Surge; surge != nil {
		if *surge < 0 || *surge > MaxInstances {
			bad("strategy surge %d is not between 0 and %d", *surge, MaxInstances)
		}
		if s.Strategy.Kind == Recreate {
			bad("strategy recreate has no surge: an instance ends before the next starts in its place")
		}
	}
	return Join(errs...)
}

// errorsOfEnv reports everything that is wrong with an environment.
func errorsOfEnv(env map[string]string) error {
	var errs []error
	bytes := 0
	for _, k := range sortedKeys(env) {
		if err := CheckEnvName(k); err != nil {
			errs = append(errs, err)
		}
		if strings.ContainsRune(env[k], 0) {
			errs = append(errs, Errorf(Invalid, "environment variable %s has a NUL byte", k))
		}
		bytes += len(k) + len(env[k]) + 2
	}
	if port, ok := env["PORT"]; ok {
		if _, err := parsePort(port); err != nil {
			errs = append(errs, err)
		}
	}
	if bytes > MaxEnvBytes {
		errs = append(errs, Errorf(Invalid, "the environment has %d bytes, at most %d are allowed", bytes, MaxEnvBytes))
	}
	return Join(errs...)
}

// Validate reports everything that is wrong with a formation.
func (f Formation) Validate() error {
	var errs []error
	for _, name := range sortedKeys(f) {
		s := f[name]
		if s.Instances < 0 || s.Instances > MaxInstances {
			errs = append(errs, Errorf(Invalid, "process %s: %d instances are not between 0 and %d", name, s.Instances, MaxInstances))
		}
		if s.Memory < MinMemory {
			errs = append(errs, Errorf(Invalid, "process %s: memory %s is less than %s", name, FormatSize(s.Memory), FormatSize(MinMemory)))
		}
		if s.CPU != 0 && s.CPU < 10 {
			errs = append(errs, Errorf(Invalid, "process %s: %d thousandths of a core are less than 10", name, s.CPU))
		}
		if s.Disk != 0 && s.Disk < MinDisk {
			errs = append(errs, Errorf(Invalid, "process %s: a disk quota of %s is less than %s", name, FormatSize(s.Disk), FormatSize(MinDisk)))
		}
	}
	return Join(errs...)
}

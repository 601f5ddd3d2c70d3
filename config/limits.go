package config

import (
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Limits limits what a node stores and what its parts may use. A zero field means the part's default.
type Limits struct {
	Logs       int64 // bytes of an app's log
	AuditLines int   // number of audit lines that are kept at least
	DiskFree   int64 // bytes of disk that pulls and builds leave free
	ImageSize  int64 // bytes of an image, unpacked
	Upload     int64 // bytes of a pushed folder
	Files      int   // number of files in a pushed folder
}

// Build limits builds. All limits but Time apply to all running steps together. A zero field means the default.
type Build struct {
	Time   time.Duration // of one build
	Memory int64         // bytes
	CPU    int64         // thousandths of a core
	Pids   int64
	Cache  int64 // bytes of disk that the build cache may grow to
}

// Registries has the paths of the configuration of image registries. An empty field means the default.
type Registries struct {
	Credentials string // a config.json as docker login writes it
	Certs       string // a folder with HOST/hosts.toml files, as in containerd
}

// setSize sets a size of at least so many bytes.
func setSize(to *int64, key, value string, least int64) error {
	n, err := cloud.ParseSize(value)
	if err != nil {
		return err
	}
	if n < least {
		return cloud.Errorf(cloud.Invalid, "%s %q is less than %s", key, value, cloud.FormatSize(least)).WithHint("for example %s", cloud.FormatSize(8*least))
	}
	*to = n
	return nil
}

// setCount sets a whole number of at least a minimum.
func setCount[N int | int64](to *N, key, value string, least N) error {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || N(n) < least {
		return cloud.Errorf(cloud.Invalid, "%s %q is not a whole number of at least %d", key, value, least).WithHint("for example --%s %d", key, least)
	}
	*to = N(n)
	return nil
}

func (b *Build) setTime(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < time.Second || d > 24*time.Hour {
		return cloud.Errorf(cloud.Invalid, "build-time %q is not a duration of 1s to 24h", value).WithHint("for example 30m")
	}
	b.Time = d
	return nil
}

func (b *Build) setCPU(value string) error {
	cores, err := strconv.ParseFloat(value, 64)
	if err != nil || !(cores >= 0.1 && cores <= 10_000) {
		return cloud.Errorf(cloud.Invalid, "build-cpu %q is not a number of cores", value).WithHint("for example 2 or 0.5")
	}
	b.CPU = int64(cores * 1000)
	return nil
}

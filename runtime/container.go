package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// pids limits the processes and threads of an instance.
const pids = 512

// Labels of a container, from which a restarted node reads which instance it is.
const (
	labelGroup      = "micro.group"
	labelApp        = "micro.app"
	labelRelease    = "micro.release"
	labelProcess    = "micro.process"
	labelIndex      = "micro.index"
	labelGeneration = "micro.generation"
	labelPort       = "micro.port"
	labelOf         = "micro.of"    // when the release was made, in nanoseconds
	labelToken      = "micro.token" // of the instance's place
	labelFenced     = "micro.fenced"
)

// IsFenced reports whether a container with these labels must not run while another node may run it.
func IsFenced(labels map[string]string) bool { return labels[labelFenced] != "" }

// AppOf returns the app that a container's labels name, "GROUP/APP"; "" for none.
func AppOf(labels map[string]string) string {
	if of := labels[labelOnce]; of != "" {
		if ref, err := cloud.ParseRef(of, cloud.DefaultGroup); err == nil {
			return string(ref.Group) + "/" + string(ref.App)
		}
	}
	if labels[labelApp] == "" {
		return ""
	}
	return labels[labelGroup] + "/" + labels[labelApp]
}

// nodeFacts are properties of the node that every container depends on.
type nodeFacts struct {
	domain cloud.Domain
	cores  int64 // thousandths
}

// container returns the container of an instance. It is a pure function.
func (n nodeFacts) container(group *cloud.Group, rel *cloud.Release, i *cloud.Instance, image Image, volumes []Mount, log string) Container {
	p := rel.Spec.Processes[i.Process]
	scale := rel.Formation[i.Process]
	c := Container{
		ID: string(i.ID),
		Labels: map[string]string{
			labelGroup: string(rel.Group), labelApp: string(rel.App), labelRelease: strconv.Itoa(rel.N),
			labelProcess: string(i.Process), labelIndex: strconv.Itoa(i.Index), labelGeneration: strconv.Itoa(i.Generation),
			labelPort: strconv.Itoa(p.Port), labelOf: strconv.FormatInt(rel.Created.UnixNano(), 10),
			labelToken: strconv.FormatUint(uint64(i.Token), 10),
		},
		Image:    rel.Spec.Image.Digest,
		Shim:     fmt.Sprintf("%s.%s.r%d", rel.Group, rel.App, rel.N),
		Command:  p.Command,
		NoInit:   p.NoInit,
		Hostname: string(i.ID),
		Search:   []string{string(rel.Group) + ".internal"},
		Tenant:   group.Number,
		Memory:   scale.Memory,
		CPU:      scale.CPU,
		Pids:     pids,
		Disk:     diskLimit(scale.Disk),
		Mounts:   volumes,
		Log:      log,
	}
	// An app with volumes stays on their node, and a release command runs only once: neither starts elsewhere.
	if rel.Spec.Strategy.Kind == cloud.Recreate && len(rel.Spec.Volumes) == 0 && i.Process != cloud.ReleaseCommand {
		c.Fenced, c.Labels[labelFenced] = true, "yes"
	}
	if c.CPU == 0 || c.CPU > n.cores {
		c.CPU = n.cores
	}
	c.Env = n.env(rel, i, p, scale, image)
	c.Secrets = secrets(rel, cloud.Bound{})
	c.AddressEnv = func(ip netip.Addr) []string { return addressEnv(ip, p.Port) }
	return c
}

// env returns the environment of an instance without the release's: defaults, overridden by the image's variables and
// those that only micro knows.
func (n nodeFacts) env(rel *cloud.Release, i *cloud.Instance, p cloud.Process, scale cloud.Scale, image Image) []string {
	env := map[string]string{"LANG": "C.UTF-8", "TMPDIR": "/tmp", "MEMORY_LIMIT": fmt.Sprintf("%dm", scale.Memory>>20)}
	for _, kv := range image.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	if p.Port != 0 {
		env["PORT"] = strconv.Itoa(p.Port)
	}
	maps.Copy(env, map[string]string{
		"MICRO_APP":         string(rel.App),
		"MICRO_GROUP":       string(rel.Group),
		"MICRO_RELEASE":     fmt.Sprintf("r%d", rel.N),
		"MICRO_INSTANCE":    string(i.ID),
		"CF_INSTANCE_GUID":  string(i.ID),
		"CF_INSTANCE_INDEX": strconv.Itoa(i.Index),
		"VCAP_APPLICATION":  n.vcapApplication(rel, i, p, scale),
		"VCAP_SERVICES":     "{}",
	})
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// bind gives the container what the release's bindings have for it, and lets it reach the services. If the release is a
// service, only containers that are bound to it reach the container.
func (c *Container) bind(rel *cloud.Release, state *cloud.State) {
	bound := state.Bound(rel)
	c.Secrets, c.BindingFiles = secrets(rel, bound), bound.Files
	if app, ok := state.App(rel.AppRef); ok && app.Service != nil {
		c.Service = string(rel.App)
	}
	for _, b := range rel.Spec.Bindings {
		c.Reaches = append(c.Reaches, string(b.Service))
	}
}

// secrets are what the release's bindings and environment set: any of the values may be a password. PORT is the
// process's own.
func secrets(rel *cloud.Release, bound cloud.Bound) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(bound.Env)) {
		out = append(out, k+"="+bound.Env[k])
	}
	for _, k := range slices.Sorted(maps.Keys(rel.Spec.Env)) {
		if k != "PORT" {
			out = append(out, k+"="+rel.Spec.Env[k])
		}
	}
	return out
}

// vcapApplication returns the value of VCAP_APPLICATION, for apps made for Cloud Foundry.
func (n nodeFacts) vcapApplication(rel *cloud.Release, i *cloud.Instance, p cloud.Process, scale cloud.Scale) string {
	uris := []string{string(n.domain.App(rel.AppRef)), string(n.domain.Release(rel.ReleaseRef, rel.Created))}
	b, err := json.Marshal(map[string]any{
		"application_id":      rel.AppRef.String(),
		"application_name":    rel.App,
		"application_uris":    uris,
		"application_version": fmt.Sprintf("r%d", rel.N),
		"name":                rel.App,
		"uris":                uris,
		"version":             fmt.Sprintf("r%d", rel.N),
		"space_name":          rel.Group,
		"organization_name":   "micro",
		"instance_id":         i.ID,
		"instance_index":      i.Index,
		"process_type":        i.Process,
		"host":                "0.0.0.0",
		"port":                p.Port,
		"limits":              limits(scale),
	})
	if err != nil {
		return "{}" // impossible: all values can be encoded
	}
	return string(b)
}

func limits(scale cloud.Scale) map[string]any {
	all := map[string]any{"mem": scale.Memory >> 20, "fds": 16384}
	if scale.Disk > 0 {
		all["disk"] = scale.Disk >> 20
	}
	return all
}

// addressEnv returns the variables that depend on the instance's address.
func addressEnv(ip netip.Addr, port int) []string {
	addr := netip.AddrPortFrom(ip, uint16(port))
	env := []string{"CF_INSTANCE_IP=" + ip.String(), "CF_INSTANCE_INTERNAL_IP=" + ip.String()}
	if port == 0 {
		return append(env, "CF_INSTANCE_PORTS=[]")
	}
	return append(env,
		fmt.Sprintf("CF_INSTANCE_PORT=%d", port),
		"CF_INSTANCE_ADDR="+addr.String(),
		fmt.Sprintf(`CF_INSTANCE_PORTS=[{"external":%d,"internal":%d}]`, port, port))
}

// adopted returns the instance of a container, from its labels. ok is false if the container is not an instance.
func adopted(r Running, node cloud.NodeName) (i *cloud.Instance, ok bool) {
	number := func(label string) int {
		v, err := strconv.Atoi(r.Labels[label])
		if err != nil {
			ok = false
		}
		return v
	}
	ok = r.Labels[labelApp] != "" && r.Labels[labelProcess] != ""
	i = &cloud.Instance{
		ID: cloud.InstanceID(r.ID),
		Slot: cloud.Slot{
			ReleaseRef: cloud.AppRef{Group: cloud.GroupName(r.Labels[labelGroup]), App: cloud.AppName(r.Labels[labelApp])}.Release(number(labelRelease)),
			Process:    cloud.ProcessName(r.Labels[labelProcess]),
			Index:      number(labelIndex),
		},
		Generation: number(labelGeneration),
		Node:       node,
		Phase:      cloud.InstanceStarting,
		Addr:       netip.AddrPortFrom(r.IP, uint16(number(labelPort))),
		PID:        r.PID,
		Started:    r.Started,
	}
	if made, err := strconv.ParseInt(r.Labels[labelOf], 10, 64); err == nil {
		i.Of = time.Unix(0, made).UTC()
	}
	// Containers of older versions have no token, which counts as 0.
	if token, err := strconv.ParseUint(r.Labels[labelToken], 10, 64); err == nil {
		i.Token = cloud.Revision(token)
	}
	return i, ok
}

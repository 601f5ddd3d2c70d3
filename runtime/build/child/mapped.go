package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/executor/runcexecutor"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/runtime/overlay"
)

// mapped runs steps in a user namespace, so the root user of a step is unprivileged on the host. Layers keep unmapped
// owners, as containers and COPY need them: a step accesses the folder of snapshots through an ID-mapped mount.
type mapped struct {
	executor.Executor
	folder string // of the snapshots
	view   string // ID-mapped mount of folder
	shared *shared
}

func identities() *user.IdentityMapping {
	ids := []user.IDMap{{ID: 0, ParentID: network.SandboxBase, Count: network.Range}}
	return &user.IdentityMapping{UIDMaps: ids, GIDMaps: ids}
}

// newMapped creates BuildKit's executor in a folder that the mapped root user can access.
func newMapped(opt runcexecutor.Opt, networks networks, snapshots string) (*mapped, error) {
	m := &mapped{
		folder: snapshots, view: filepath.Join(runcState, "snapshots"),
		shared: &shared{folder: filepath.Join(runcState, "mounts"), caller: overlay.Caller{Prepare: becomeRootOfStep}},
	}
	if err := m.mount(); err != nil {
		return nil, fmt.Errorf("map the owners of %s: %w", snapshots, err)
	}
	opt.Root, opt.IdentityMapping = filepath.Join(runcState, "steps"), identities()
	var err error
	if m.Executor, err = runcexecutor.New(opt, networks); err != nil {
		return nil, fmt.Errorf("make the executor: %w", err)
	}
	return m, nil
}

func (m *mapped) mount() error {
	// The folder may not exist before the first snapshot.
	for _, dir := range []string{m.folder, m.view, m.shared.folder} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	ids := fmt.Sprintf("0:%d:%d", uint32(network.SandboxBase), network.Range)
	ns, err := mount.GetUsernsFD(ids, ids)
	if err != nil {
		return err
	}
	defer ns.Close()
	return mount.IDMapMount(m.folder, m.view, int(ns.Fd()))
}

// Run implements executor.Executor.
func (m *mapped) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	stamp, err := stampOf(ctx, root.Src)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(p.Meta.Env, func(v string) bool { return strings.HasPrefix(v, sourceDate+"=") }) {
		p.Meta.Env = append(slices.Clone(p.Meta.Env), sourceDate+"="+strconv.FormatInt(stamp.Unix(), 10))
	}
	root.Src = mappedSource{root.Src, m}
	all := make([]executor.Mount, len(mounts))
	for i, one := range mounts {
		if one.Src != nil {
			one.Src = mappedSource{one.Src, m}
		}
		all[i] = one
	}
	return m.Executor.Run(ctx, id, root, all, p, started)
}

// stampOf returns the SOURCE_DATE_EPOCH for a step: the time of the newest file in its layers.
func stampOf(ctx context.Context, root executor.Mountable) (time.Time, error) {
	ref, err := root.Mount(ctx, false)
	if err != nil {
		return time.Time{}, err
	}
	all, release, err := plain(ref).Mount()
	if err != nil {
		return time.Time{}, err
	}
	var below []string
	if len(all) == 1 {
		_, below = folders(all[0])
	}
	stamp, err := newest(below)
	return stamp, errors.Join(err, release())
}

type mappedSource struct {
	executor.Mountable
	m *mapped
}

func (s mappedSource) Mount(ctx context.Context, readonly bool) (executor.MountableRef, error) {
	ref, err := s.Mountable.Mount(ctx, readonly)
	if err != nil {
		return nil, err
	}
	return mappedRef{plain(ref), s.m}, nil
}

type mappedRef struct {
	executor.MountableRef
	m *mapped
}

func (r mappedRef) Mount() ([]mount.Mount, func() error, error) {
	all, release, err := r.MountableRef.Mount()
	if err != nil {
		return nil, nil, err
	}
	if err := checkLayers(all); err != nil {
		return nil, nil, errors.Join(err, release())
	}
	for i := range all {
		all[i] = harmless(r.m.through(all[i]))
		if err := shiftOwner(all[i]); err != nil {
			return nil, nil, errors.Join(err, release())
		}
	}
	if len(all) == 1 && (overlay.Upper(all[0]) != "" || !overlay.Fits(all[0])) {
		return r.m.shared.mount(all[0], release)
	}
	return all, release, nil
}

// harmless disables set-user-ID bits, file capabilities and device nodes in mounts, as containers do.
func harmless(one mount.Mount) mount.Mount {
	if one.Type == "overlay" || one.Type == "bind" {
		one.Options = append(slices.Clone(one.Options), "nosuid", "nodev")
	}
	return one
}

// shiftOwner changes the owner of a secret's file, which BuildKit wrote only for this mount, to the mapped ID of that
// owner.
func shiftOwner(one mount.Mount) error {
	if one.Type != "bind" || !strings.HasPrefix(one.Source, filepath.Clean(os.TempDir())+"/") {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(one.Source, &st); err != nil {
		return fmt.Errorf("give a step its secret: %w", err)
	}
	if st.Uid >= network.Range || st.Gid >= network.Range {
		return fmt.Errorf("the owner of a secret, %d:%d, is beyond %d", st.Uid, st.Gid, network.Range-1)
	}
	return os.Lchown(one.Source, int(network.SandboxBase+st.Uid), int(network.SandboxBase+st.Gid))
}

// plain unwraps mountables that mount by themselves: deep, and BuildKit's wrapper that shares one mount between all
// writers. Their mounts hide the layers, and the owners in them are not mapped; shared replaces them. With an unknown
// wrapper the step would fail, because its files would belong to nobody.
func plain(ref executor.MountableRef) executor.MountableRef {
	v := reflect.Indirect(reflect.ValueOf(ref))
	if v.Kind() != reflect.Struct {
		return ref
	}
	f := v.FieldByName("Mountable")
	if !f.IsValid() || !f.CanInterface() {
		return ref
	}
	if inner, ok := reflect.TypeAssert[snapshot.Mountable](f); ok {
		return plain(inner)
	}
	return ref
}

// through changes a mount of snapshots to use the ID-mapped view.
func (m *mapped) through(one mount.Mount) mount.Mount {
	one.Source = m.path(one.Source)
	options := make([]string, len(one.Options))
	for i, o := range one.Options {
		options[i] = o
		key, value, ok := strings.Cut(o, "=")
		if !ok || one.Type != "overlay" {
			continue
		}
		switch key {
		case "upperdir", "workdir":
			options[i] = key + "=" + m.path(value)
		case "lowerdir":
			layers := strings.Split(value, ":")
			for j, l := range layers {
				layers[j] = m.path(l)
			}
			options[i] = key + "=" + strings.Join(layers, ":")
		}
	}
	one.Options = options
	return one
}

func (m *mapped) path(p string) string {
	if rest, ok := strings.CutPrefix(p, m.folder+"/"); ok {
		return filepath.Join(m.view, rest)
	}
	return p
}

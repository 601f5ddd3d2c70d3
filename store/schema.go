package store

import (
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// schema is the version of the format of all objects. It is incremented for each change that an older micro would misread,
// such as a member that has another meaning. New kinds of objects and new members do not need that, because a micro that
// does not know them keeps them (cloud.Unknown, cloud.State.KeepNewer).
type schema struct {
	Version int    `json:"version"`
	By      string `json:"by"` // the version of the micro that wrote it
}

// Readable is the newest version that this micro reads. It is raised one release before the migration to that version is
// added: the nodes of a cloud are upgraded one after the other, and the first one that migrates the store must not take it
// away from the others.
const Readable = 3

// migration converts objects of one version to the next, and returns what to write and delete. It may be
// interrupted and run again, so it must skip objects that are already converted.
type migration func(objects []kv.Pair) (put []kv.Put, del []string, err error)

// backupper is an engine that can copy the whole store.
type backupper interface {
	Backup(label string) (path string, err error)
}

// migrate converts the store to the newest version.
func migrate(ctx context.Context, cfg Config, steps []migration) error {
	newest := len(steps) + 1
	p, err := cfg.Engine.Get(ctx, schemaKey)
	if err != nil {
		return err
	}
	if p.Rev == 0 {
		return writeSchema(ctx, cfg, p.Rev, newest)
	}
	found, err := readSchema(p.Value, cfg.Version, max(newest, Readable))
	if err != nil {
		return err
	}
	if found.Version < newest {
		if err := checkOthersRead(ctx, cfg, newest); err != nil {
			return err
		}
	}
	if b, ok := cfg.Engine.(backupper); ok && found.Version < newest {
		path, err := b.Backup("schema" + strconv.Itoa(found.Version))
		if err != nil {
			return cloud.Errorf(cloud.Unavailable, "back up the store before its migration: %w", err)
		}
		cfg.Log.Info("migrating the store", "from", found.Version, "to", newest, "copy", path)
	}
	for v := found.Version; v < newest; v++ {
		if err := runMigration(ctx, cfg, steps[v-1]); err != nil {
			return err
		}
		if p, err = cfg.Engine.Get(ctx, schemaKey); err != nil {
			return err
		}
		if err := writeSchema(ctx, cfg, p.Rev, v+1); err != nil {
			return err
		}
	}
	return nil
}

// readSchema decodes the value of schemaKey. It returns an error if the schema is newer than newest, because
// this micro, of version own, would misread the store.
func readSchema(value []byte, own string, newest int) (found schema, err error) {
	if err := json.Unmarshal(value, &found); err != nil {
		return found, cloud.Errorf(cloud.Internal, "the store's version cannot be read: %w", err)
	}
	if found.Version > newest {
		return found, cloud.Errorf(cloud.Invalid, "the store was written by micro %s and has version %d; micro %s reads up to %d", found.By, found.Version, own, newest).WithHint("run micro %s, or a newer one", found.By)
	}
	return found, nil
}

// unrecorded is the version that a node reads which does not say what it reads.
const unrecorded = 3

// checkOthersRead refuses to migrate the store while another node of the cloud could not read it any more: it would end.
func checkOthersRead(ctx context.Context, cfg Config, version int) error {
	nodes, _, err := cfg.Engine.List(ctx, objectPrefix+"nodes/")
	if err != nil {
		return err
	}
	for _, p := range nodes {
		c, err := cloud.DecodeChange(cloud.Key(strings.TrimPrefix(p.Key, objectPrefix)), p.Value)
		if err != nil {
			return err
		}
		node, ok := c.Object.(*cloud.Node)
		if !ok || node.Name == cfg.Node || !node.Addr.IsValid() || cmp.Or(node.Reads, unrecorded) >= version {
			continue
		}
		return cloud.Errorf(cloud.Conflict, "the store must be migrated to version %d, and node %s, which runs micro %s, reads up to %d", version, node.Name, cmp.Or(node.Version, "of an older version"), cmp.Or(node.Reads, unrecorded)).
			WithHint("upgrade %s first to a version that reads it; if the node is gone for good: micro node remove %s --lost", node.Name, node.Name)
	}
	return nil
}

// SchemaVersion returns the version of the store's format, as it is now.
func (s *Store) SchemaVersion(ctx context.Context) (int, error) {
	p, err := s.engine.Get(ctx, schemaKey)
	if err != nil {
		return 0, err
	}
	found, err := readSchema(p.Value, s.cfg.Version, Readable)
	return found.Version, err
}

func runMigration(ctx context.Context, cfg Config, m migration) error {
	objects, _, err := cfg.Engine.List(ctx, objectPrefix)
	if err != nil {
		return err
	}
	put, del, err := m(objects)
	if err != nil {
		return err
	}
	// Write everything before deleting anything: a migration that was interrupted runs again, and must still
	// find the old objects.
	for len(put)+len(del) > 0 {
		var txn kv.Txn
		for size := 0; len(put) > 0 && len(txn.Put) < batchOps && (size == 0 || size+len(put[0].Value) < batchBytes); put = put[1:] {
			size += len(put[0].Key) + len(put[0].Value)
			txn.Put = append(txn.Put, put[0])
		}
		if len(txn.Put) == 0 {
			n := min(len(del), batchOps)
			txn.Del, del = del[:n], del[n:]
		}
		if _, err := cfg.Engine.Commit(ctx, txn); err != nil {
			return err
		}
	}
	return nil
}

func writeSchema(ctx context.Context, cfg Config, rev int64, version int) error {
	value, err := json.Marshal(schema{version, cfg.Version})
	if err != nil {
		return err
	}
	_, err = cfg.Engine.Commit(ctx, kv.Txn{
		If:  []kv.Cond{kv.Unchanged(schemaKey, rev)},
		Put: []kv.Put{{Key: schemaKey, Value: value}},
	})
	return err
}

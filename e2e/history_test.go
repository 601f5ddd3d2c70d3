package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/protoduction/micro/api"
)

// history is what clients of a cloud have written and read, each through some node. What they write are labels of
// nodes: each label is a register.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
	refused,
	unknown int
}

// access is one operation on a label. A read has no value to write.
type access struct {
	label, write string
	by           *machine // whose node was asked
}

// registers is the model: each label has the value that was written last.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, op := range history {
			label := op.Input.(access).label
			k, ok := at[label]
			if !ok {
				k = len(parts)
				at[label], parts = k, append(parts, nil)
			}
			parts[k] = append(parts[k], op)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if w := input.(access).write; w != "" {
			return true, w
		}
		return output == state, state
	},
}

var (
	errNotSent = errors.New("the node was not asked")
	errRefused = errors.New("the node refused")
)

// ask sends a request to the API of a machine's node. Its error is errNotSent, errRefused, or another one after which the
// request may have done what it was to do.
func ask(ctx context.Context, m *machine, method, path string, body, answer any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://micro"+path, &b)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := m.api.Do(req)
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	switch {
	case resp.StatusCode < 300:
		return json.Unmarshal(text, answer)
	case strings.Contains(string(text), "may have been made"):
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return fmt.Errorf("%w: %s: %s", errRefused, resp.Status, text)
}

// opTimeout is how long a client waits for an answer.
const opTimeout = 12 * time.Second

// write sets a label of a node through any node, and reports whether that was acknowledged.
func (h *history) write(ctx context.Context, client int, m *machine, of *machine, label, value string) bool {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	op := porcupine.Operation{ClientId: client, Input: access{label, value, m}, Call: int64(time.Since(h.began))}
	err := ask(ctx, m, http.MethodPost, "/v1/nodes/"+string(of.name())+"/labels", api.NodeLabels{Labels: map[string]string{label: value}}, &api.Changed{})
	op.Return = int64(time.Since(h.began))
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case errors.Is(err, errNotSent), errors.Is(err, errRefused):
		h.refused++
		return false
	case err != nil:
		h.unknown++
		op.Return = math.MaxInt64 // it may be done at any later time
	}
	h.ops = append(h.ops, op)
	return err == nil
}

// read reads a label of a node through any node. An answer that says that no majority answers counts for nothing.
func (h *history) read(ctx context.Context, client int, m *machine, of *machine, label string) bool {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	op := porcupine.Operation{ClientId: client, Input: access{label, "", m}, Call: int64(time.Since(h.began))}
	var c api.Cluster
	err := ask(ctx, m, http.MethodGet, "/v1/cluster", nil, &c)
	op.Return = int64(time.Since(h.began))
	if err != nil || !c.Writable {
		return false
	}
	op.Output = ""
	for _, n := range c.Nodes {
		if n.Name == of.name() {
			op.Output = n.Labels[label]
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
	return true
}

// firstWrite returns how long after a time the first write was acknowledged by one of some machines that was sent after
// that time.
func (h *history) firstWrite(after time.Time, by func(*machine) bool) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from, first := int64(after.Sub(h.began)), int64(math.MaxInt64)
	for _, op := range h.ops {
		if in := op.Input.(access); in.write != "" && op.Call >= from && by(in.by) {
			first = min(first, op.Return)
		}
	}
	return time.Duration(first - from), first != math.MaxInt64
}

// check returns an error if no order of the operations explains what was read.
func (h *history) check(limit time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch porcupine.CheckOperationsTimeout(registers, h.ops, limit) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("porcupine found no answer within %v", limit)
	}
	var wrong strings.Builder
	for _, part := range registers.Partition(h.ops) {
		if porcupine.CheckOperationsTimeout(registers, part, limit) == porcupine.Illegal {
			for _, op := range part {
				in := op.Input.(access)
				fmt.Fprintf(&wrong, "%s by %s: wrote %q, read %q, from %v to %v\n", in.label, in.by.name(), in.write, op.Output, time.Duration(op.Call), time.Duration(op.Return))
			}
		}
	}
	return fmt.Errorf("no order of these operations explains what was read:\n%s", wrong.String())
}

func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	writes, reads := 0, 0
	for _, op := range h.ops {
		switch {
		case op.Input.(access).write == "":
			reads++
		case op.Return != math.MaxInt64:
			writes++
		}
	}
	return fmt.Sprintf("%d acknowledged writes, %d reads, %d writes of unknown outcome, %d refused", writes, reads, h.unknown, h.refused)
}

package kvtest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/protoduction/micro/store/kv"
)

// crashDir is the environment variable with the folder in which a test binary writes until it is killed.
const crashDir = "KVTEST_CRASH_DIR"

// Main runs the tests, or the writer of the crash test. Call it from TestMain.
func Main(m *testing.M, open Open) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, writeUntilError(open, dir))
	os.Exit(1)
}

// crashKeys is how many pairs of keys the writer writes in turn.
const crashKeys = 40

// writeUntilError writes increasing numbers until an error, each in a transaction with two keys, and prints each
// number when it is acknowledged. The values differ in length, so that pages split and merge.
func writeUntilError(open Open, dir string) error {
	e, err := open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	n, err := readCounter(ctx, e)
	if err != nil {
		return err
	}
	for {
		n++
		k := n % crashKeys
		v := fmt.Sprintf("%d %0*d", n, n*37%1500, 0)
		txn := put("n", strconv.Itoa(n), fmt.Sprint("left/", k), v, fmt.Sprint("right/", k), v)
		if n%7 == 0 {
			k = (k + 3) % crashKeys
			txn.Del = []string{fmt.Sprint("left/", k), fmt.Sprint("right/", k)}
		}
		if _, err := e.Commit(ctx, txn); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

func readCounter(ctx context.Context, e kv.Engine) (int, error) {
	p, err := e.Get(ctx, "n")
	if err != nil || p.Rev == 0 {
		return 0, err
	}
	return strconv.Atoi(string(p.Value))
}

// testCrash kills a writer repeatedly: all acknowledged transactions must be there, and none partly.
func testCrash(t *testing.T, open Open) {
	dir := t.TempDir() + "/s"
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 10 {
		acked := killWriter(t, dir, 1+r.IntN(120))
		e := engine(t, open, dir)
		n, err := readCounter(t.Context(), e)
		if err != nil || n < acked {
			t.Fatalf("round %d: %d was acknowledged, the store has %d (%v)", round, acked, n, err)
		}
		left, _, lerr := e.List(t.Context(), "left/")
		right, _, rerr := e.List(t.Context(), "right/")
		if lerr != nil || rerr != nil || len(left) != len(right) || len(left) == 0 {
			t.Fatalf("round %d: %d and %d pairs, %v, %v", round, len(left), len(right), lerr, rerr)
		}
		newest := 0
		for i, l := range left {
			var v int
			_, _ = fmt.Sscan(string(l.Value), &v)
			newest = max(newest, v)
			if string(l.Value) != string(right[i].Value) || l.Rev != right[i].Rev {
				t.Fatalf("round %d: half a transaction: %s and %s", round, l.Value, right[i].Value)
			}
		}
		if newest != n {
			t.Fatalf("round %d: the counter says %d, the newest pair %d", round, n, newest)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter starts a writer, kills it after n acknowledgements, and returns the last number it printed.
func killWriter(t *testing.T, dir string, n int) (acked int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range n {
		if !lines.Scan() {
			break
		}
		acked, _ = strconv.Atoi(lines.Text())
	}
	killed := cmd.Process.Kill()
	for lines.Scan() { // lines that it printed before it died
		acked, _ = strconv.Atoi(lines.Text())
	}
	_ = cmd.Wait()
	if killed != nil || acked == 0 {
		t.Fatalf("the writer ended by itself after %d: %v", acked, killed)
	}
	return acked
}

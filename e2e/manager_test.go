package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// managers are what plays systemd's part, by the script's data folder.
var managers sync.Map

// manager starts a node as systemd does: it is told when the node is ready, and keeps the sockets that the
// node leaves with it.
type manager struct {
	path  string // of its socket
	conn  *net.UnixConn
	names []string
	files []*os.File
	node  *exec.Cmd
}

// manager start starts the script's node as a service; manager restart and manager kill end it, with
// SIGTERM or SIGKILL, and start it again. Where a HOST is given they ask for it, by HTTP and by DNS, while
// there is no node, which is to answer all the same.
func managerCommand(ts *testscript.TestScript, neg bool, args []string) {
	key := ts.Getenv("MICRO_DATA")
	signals := map[string]syscall.Signal{"restart": syscall.SIGTERM, "kill": syscall.SIGKILL}
	switch {
	case len(args) == 1 && args[0] == "start":
		path := filepath.Join(filepath.Dir(key), "notify")
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		ts.Check(err)
		m := &manager{path: path, conn: conn}
		managers.Store(key, m)
		ts.Defer(m.end)
		m.start(ts)
	case len(args) > 0 && len(args) < 3 && signals[args[0]] != 0:
		v, ok := managers.Load(key)
		if !ok {
			ts.Fatalf("no manager")
		}
		m := v.(*manager)
		ts.Check(m.node.Process.Signal(signals[args[0]]))
		if err := m.node.Wait(); err != nil && args[0] == "restart" {
			ts.Fatalf("%v", err)
		}
		var answers []<-chan error
		for _, host := range args[1:] {
			answers = append(answers, askHTTP(ts, host), askDNS(ts, host))
		}
		m.start(ts)
		for _, answer := range answers {
			ts.Check(<-answer)
		}
	default:
		ts.Fatalf("usage: manager start, manager restart|kill [HOST]")
	}
}

// start returns when the node says that it is ready.
func (m *manager) start(ts *testscript.TestScript) {
	path, err := lookPath(ts.Getenv("PATH"), "micro")
	ts.Check(err)
	// Only the process itself knows who the sockets are for.
	m.node = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" up`, path)
	m.node.Env = append(environment(ts), "NOTIFY_SOCKET="+m.path,
		fmt.Sprintf("LISTEN_FDS=%d", len(m.files)), "LISTEN_FDNAMES="+strings.Join(m.names, ":"))
	m.node.ExtraFiles = m.files
	log, err := os.OpenFile(ts.MkAbs("manager.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	m.node.Stderr = log
	ts.Check(m.node.Start())
	ts.Check(m.conn.SetReadDeadline(time.Now().Add(patience)))
	for !m.hear(ts) {
	}
}

// hear takes what the node says, until it is ready.
func (m *manager) hear(ts *testscript.TestScript) (ready bool) {
	text, rights := make([]byte, 4096), make([]byte, 4096)
	n, rn, _, _, err := m.conn.ReadMsgUnix(text, rights)
	ts.Check(err)
	said := map[string]string{}
	for line := range strings.Lines(string(text[:n])) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[key] = value
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	ts.Check(err)
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		ts.Check(err)
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), said["FDNAME"])
			if said["FDSTORE"] != "1" {
				f.Close() // of a barrier
				continue
			}
			m.names, m.files = append(m.names, said["FDNAME"]), append(m.files, f)
		}
	}
	if said["FDSTOREREMOVE"] == "1" {
		i := slices.Index(m.names, said["FDNAME"])
		if i < 0 {
			ts.Fatalf("no socket %q to let go of", said["FDNAME"])
		}
		m.files[i].Close()
		m.names, m.files = slices.Delete(m.names, i, i+1), slices.Delete(m.files, i, i+1)
	}
	return said["READY"] == "1"
}

// end is for when the script is over, however it went.
func (m *manager) end() {
	_ = m.node.Process.Signal(syscall.SIGTERM)
	_ = m.node.Wait()
	m.conn.Close()
	for _, f := range m.files {
		f.Close()
	}
}

// askHTTP asks the script's router, which need not be there, and tells later whether it answered.
func askHTTP(ts *testscript.TestScript, host string) <-chan error {
	conn, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("HTTP"))
	ts.Check(err)
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	ts.Check(err)
	answer := make(chan error, 1)
	go func() {
		defer conn.Close()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				err = fmt.Errorf("who asked while there was no node got %s", response.Status)
			}
		}
		answer <- err
	}()
	return answer
}

// askDNS does the same with the script's DNS server.
func askDNS(ts *testscript.TestScript, host string) <-chan error {
	conn, err := dns.Dial("udp", "127.0.0.1:"+ts.Getenv("DNS"))
	ts.Check(err)
	ts.Check(conn.SetDeadline(time.Now().Add(patience)))
	ts.Check(conn.WriteMsg(new(dns.Msg).SetQuestion(host+".", dns.TypeA)))
	answer := make(chan error, 1)
	go func() {
		defer conn.Close()
		reply, err := conn.ReadMsg()
		if err == nil && len(reply.Answer) != 1 {
			err = fmt.Errorf("who asked for %s while there was no node got %v", host, reply)
		}
		answer <- err
	}()
	return answer
}

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// pebbleVersion is that of the certificate authority for tests: Let's Encrypt's own.
const pebbleVersion = "v2.10.3"

// pebbleProgram is built once.
var pebbleProgram = goProgram("github.com/letsencrypt/pebble/v2/cmd/pebble@" + pebbleVersion)

// goProgram returns a function that builds a Go program at its first call, and returns where it is.
func goProgram(pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "program")
		if err != nil {
			return "", err
		}
		cmd := exec.Command("go", "install", pkg)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		cmd.Dir = os.TempDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go install %s: %w: %s", pkg, err, out)
		}
		programs, err := os.ReadDir(dir)
		if err != nil {
			return "", err
		}
		if len(programs) != 1 {
			return "", fmt.Errorf("go install %s made %d programs", pkg, len(programs))
		}
		return filepath.Join(dir, programs[0].Name()), nil
	})
}

// pebble start|stop [VARIABLE=VALUE…] runs a certificate authority at $ACME, which asks the script's world by DNS. It
// sets $DIRECTORY and $DIRECTORYCA.
// pebble roots FILE writes the authority's own certificate.
func pebbleCommand(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: pebble start|stop|roots FILE")
	case args[0] == "start":
		startPebble(ts, args[1:])
	case args[0] == "stop":
		stopPebble(ts)
	case args[0] == "roots" && len(args) == 2:
		client := http.Client{Transport: insecureTransport()}
		resp, err := client.Get("https://127.0.0.1:" + ts.Getenv("ACMEADMIN") + "/roots/0")
		ts.Check(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
	default:
		ts.Fatalf("usage: pebble start|stop|roots FILE")
	}
}

// pebbles are the authorities that run, by their port.
var pebbles = struct {
	sync.Mutex
	stop map[string]func()
}{stop: map[string]func(){}}

func startPebble(ts *testscript.TestScript, env []string) {
	program, err := pebbleProgram()
	ts.Check(err)
	startWorld(ts)
	dir := ts.MkAbs("pebble")
	ts.Check(os.MkdirAll(dir, 0o700))
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := os.Stat(cert); errors.Is(err, os.ErrNotExist) {
		ts.Check(selfSigned(cert, key))
	}
	port := func(name string) int {
		var n int
		_, err := fmt.Sscan(ts.Getenv(name), &n)
		ts.Check(err)
		return n
	}
	eab := false
	for _, e := range env {
		eab = eab || e == "EAB=1"
	}
	// Pebble panics at a name that has fewer labels than one of the blocklist.
	config := map[string]any{
		"listenAddress": "127.0.0.1:" + ts.Getenv("ACME"), "managementListenAddress": "127.0.0.1:" + ts.Getenv("ACMEADMIN"),
		"certificate": cert, "privateKey": key, "httpPort": port("PUBLICHTTP"), "tlsPort": port("PUBLICHTTPS"),
		"externalAccountBindingRequired": eab, "externalAccountMACKeys": map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"},
		"domainBlocklist": []string{"blocked.example"}, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}
	b, err := json.Marshal(map[string]any{"pebble": config})
	ts.Check(err)
	file := filepath.Join(dir, "config.json")
	ts.Check(os.WriteFile(file, b, 0o600))
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-config", file, "-dnsserver", ts.Getenv("WORLD"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"), env...)
	ts.Check(cmd.Start())
	stop := sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		log.Close()
	})
	pebbles.Lock()
	pebbles.stop[ts.Getenv("ACME")] = stop
	pebbles.Unlock()
	ts.Defer(stop)
	ts.Setenv("DIRECTORY", "https://127.0.0.1:"+ts.Getenv("ACME")+"/dir")
	ts.Setenv("DIRECTORYCA", cert)
	awaitAnswer(ts, &http.Client{Transport: insecureTransport()}, ts.Getenv("DIRECTORY"), log.Name())
}

// awaitAnswer waits until a server that the script has started answers. Otherwise it shows the server's log.
func awaitAnswer(ts *testscript.TestScript, client *http.Client, url, log string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // a poll, with an end
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
			return
		}
	}
	text, _ := os.ReadFile(log)
	ts.Fatalf("%s does not answer: %s", url, text)
}

func stopPebble(ts *testscript.TestScript) {
	pebbles.Lock()
	stop := pebbles.stop[ts.Getenv("ACME")]
	pebbles.Unlock()
	if stop == nil {
		ts.Fatalf("no pebble runs")
	}
	stop()
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

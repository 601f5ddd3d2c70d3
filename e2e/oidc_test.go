package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
)

// oidcProgram is the provider of testdata/oidcprovider.txtar, built once.
var oidcProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "oidc")
	if err != nil {
		return "", err
	}
	source, err := txtar.ParseFile(filepath.Join("testdata", "oidcprovider.txtar"))
	if err != nil {
		return "", err
	}
	if err := txtar.Write(source, dir); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "oidcprovider")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build oidcprovider: %w: %s", err, out)
	}
	return program, nil
})

// oidcProviders are those that run, by their port.
var oidcProviders sync.Map

// oidc start|stop [VARIABLE=VALUE…] runs an OpenID Connect provider at http://localhost:$ACME/.
// oidc browser FILE USER does what a person's browser does with the provider's address in a file, until it has come
// back; oidc device FILE USER confirms a code that a device shows.
func oidcCommand(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: oidc start|stop|browser|device")
	case args[0] == "start":
		startOIDC(ts, args[1:])
	case args[0] == "stop":
		if stop, ok := oidcProviders.LoadAndDelete(ts.Getenv("ACME")); ok {
			stop.(func())()
		}
	case len(args) == 3 && args[0] == "browser":
		browse(ts, ts.MkAbs(args[1]), args[2])
	case len(args) == 3 && args[0] == "device":
		confirm(ts, ts.MkAbs(args[1]), args[2])
	default:
		ts.Fatalf("usage: oidc start|stop|browser FILE USER|device FILE USER")
	}
}

func startOIDC(ts *testscript.TestScript, env []string) {
	program, err := oidcProgram()
	ts.Check(err)
	port := ts.Getenv("ACME")
	log, err := os.Create(ts.MkAbs("oidc.log"))
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append(os.Environ(), "PORT="+port), env...)
	ts.Check(cmd.Start())
	stop := sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		log.Close()
	})
	oidcProviders.Store(port, stop)
	ts.Defer(stop)
	ts.Setenv("ISSUER", "http://localhost:"+port+"/")
	awaitAnswer(ts, http.DefaultClient, "http://localhost:"+port+"/.well-known/openid-configuration", log.Name())
}

// found waits until a file has what a pattern finds.
func found(ts *testscript.TestScript, file, pattern string) string {
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) { // a poll, with an end
		b, _ := os.ReadFile(file)
		if m := re.FindSubmatch(b); m != nil {
			return string(m[1])
		}
	}
	ts.Fatalf("%s has no %s", file, pattern)
	return ""
}

// person is a browser with cookies.
type person struct {
	ts *testscript.TestScript
	http.Client
}

func newPerson(ts *testscript.TestScript) *person {
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	return &person{ts, http.Client{Jar: jar, Timeout: patience}}
}

func (p *person) page(resp *http.Response, err error) (*url.URL, string) {
	p.ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	p.ts.Check(err)
	return resp.Request.URL, string(b)
}

// browse logs in at the provider, which leads back to whoever began the log-in.
func browse(ts *testscript.TestScript, file, user string) {
	p := newPerson(ts)
	at, _ := p.page(p.Get(found(ts, file, `log in at (http\S+)`)))
	at, body := p.page(p.PostForm(at.String(), url.Values{"id": {at.Query().Get("authRequestID")}, "username": {user}, "password": {user + "pass"}}))
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", at, body)
}

// confirm types the code of a device and allows it.
func confirm(ts *testscript.TestScript, file, user string) {
	p := newPerson(ts)
	at, code := found(ts, file, `open (http\S+) and type`), found(ts, file, `type the code (\S+)`)
	at = strings.TrimSuffix(at, "/")
	_, _ = p.page(p.PostForm(at+"/login", url.Values{"user_code": {code}, "username": {user}, "password": {user + "pass"}}))
	_, body := p.page(p.PostForm(at+"/confirm", url.Values{"action": {"allowed"}}))
	fmt.Fprintln(ts.Stdout(), body)
}

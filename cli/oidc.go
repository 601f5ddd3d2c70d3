package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) oidc() *urfave.Command {
	show := c.new("show", "", "show the OpenID Connect provider", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			p, err := client.OIDC(ctx)
			if err != nil {
				return err
			}
			return c.printOIDC(u, p)
		}))
	set := c.new("set", "ISSUER", "have people log in by the OpenID Connect provider at a URL", 1, 1, []urfave.Flag{
		&urfave.StringFlag{Name: "client-id", Usage: "the provider knows micro as `ID`"},
		&urfave.BoolFlag{Name: "client-secret-stdin", Usage: "read the client's secret from standard input; else it stays"},
		&urfave.StringSliceFlag{Name: "scope", Usage: "ask for `SCOPE` too; repeat it", Value: urfave.NewStringSlice("profile", "email", "groups")},
		&urfave.StringFlag{Name: "name-claim", Value: "preferred_username", Usage: "`CLAIM` has a person's user name"},
		&urfave.StringFlag{Name: "groups-claim", Value: "groups", Usage: "`CLAIM` has a person's groups"},
		&urfave.StringFlag{Name: "ca", Usage: "authorities in `FILE` vouch for the provider, else the system's"},
		jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		p := api.NewOIDC{OIDC: api.OIDC{
			Issuer: u.Args().First(), ClientID: u.String("client-id"), Scopes: u.StringSlice("scope"), NameClaim: u.String("name-claim"), GroupsClaim: u.String("groups-claim"),
		}}
		if p.ClientID == "" {
			return cloud.Errorf(cloud.Invalid, "oidc set wants the client's ID").WithHint("micro oidc set %s --client-id micro --client-secret-stdin", p.Issuer)
		}
		if u.Bool("client-secret-stdin") {
			secret, err := c.line()
			if err != nil {
				return err
			}
			p.Secret = &secret
		}
		if file := u.String("ca"); file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				return cloud.Errorf(cloud.Invalid, "cannot read the provider's authorities: %w", err)
			}
			p.CA = string(b)
		}
		made, err := client.SetOIDC(ctx, p)
		if err != nil {
			return err
		}
		return c.printOIDC(u, made)
	}))
	remove := c.changed("remove", "", "end log-ins by the OpenID Connect provider", 0, 0, nil,
		func(ctx context.Context, _ *urfave.Context, client *api.Client) (string, api.Changed, error) {
			changed, err := client.DeleteOIDC(ctx)
			return "people log in by password alone", changed, err
		})
	return family("oidc", "the OpenID Connect provider by which people log in", show, set, remove)
}

func (c *command) printOIDC(u *urfave.Context, p api.OIDC) error {
	if u.Bool("json") {
		return c.printJSON(p)
	}
	secret := "without a secret"
	if p.HasSecret {
		secret = "with a secret"
	}
	c.print("people log in by %s, which knows micro as %s, %s", p.Issuer, p.ClientID, secret)
	c.print("scopes openid %s; user names are in %s, groups in %s", strings.Join(p.Scopes, " "), p.NameClaim, p.GroupsClaim)
	c.say("micro role grant ROLE oidc:GROUP --group NAME gives people of a group a role")
	return nil
}

// byDevice logs in by a code that a person types on another device.
func (c *command) byDevice(ctx context.Context, client *api.Client) (api.LoggedIn, error) {
	d, err := client.BeginDevice(ctx)
	if err != nil {
		return api.LoggedIn{}, err
	}
	c.say("open %s and type the code %s", d.URL, d.UserCode)
	if d.Complete != "" {
		c.say("or open %s", d.Complete)
	}
	for wait := time.NewTimer(0); ; wait.Reset(time.Duration(d.Interval)) {
		select {
		case <-ctx.Done():
			return api.LoggedIn{}, ctx.Err()
		case <-wait.C:
		}
		out, err := client.FinishDevice(ctx, d.Code)
		if err != nil || !out.Pending {
			return out.LoggedIn, err
		}
		if time.Now().After(d.Expires) {
			return api.LoggedIn{}, cloud.Errorf(cloud.Unauthenticated, "nobody has typed the code %s in time", d.UserCode).WithCommand("micro login --device")
		}
	}
}

// byBrowser logs in by a browser of this machine, which comes back to a port of this process (RFC 8252).
func (c *command) byBrowser(ctx context.Context, client *api.Client, port int, open bool) (api.LoggedIn, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return api.LoggedIn{}, cloud.Errorf(cloud.Conflict, "cannot wait for the browser: %w", err).WithHint("choose another --callback-port, or micro login --device")
	}
	defer l.Close()
	redirect := fmt.Sprintf("http://localhost:%d/callback", l.Addr().(*net.TCPAddr).Port)
	state, nonce, verifier := rand.Text(), rand.Text(), rand.Text()+rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	begun, err := client.BeginBrowser(ctx, api.BrowserLogin{Redirect: redirect, State: state, Nonce: nonce, Challenge: base64.RawURLEncoding.EncodeToString(sum[:])})
	if err != nil {
		return api.LoggedIn{}, err
	}
	c.say("log in at %s", begun.URL)
	if open {
		openBrowser(ctx, begun.URL)
	}
	code, err := awaitCode(ctx, l, state)
	if err != nil {
		return api.LoggedIn{}, err
	}
	return client.FinishBrowser(ctx, api.BrowserCode{Redirect: redirect, Code: code, Verifier: verifier, Nonce: nonce})
}

// loginTimeout is how long a person has to log in with a browser.
const loginTimeout = 10 * time.Minute

// awaitCode waits until the browser comes back with a code.
func awaitCode(ctx context.Context, l net.Listener, state string) (string, error) {
	type result struct {
		code string
		err  error
	}
	got := make(chan result, 1)
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/callback" || q.Get("state") != state {
			http.Error(w, "This is no answer to the log-in that goes on.", http.StatusBadRequest)
			return
		}
		out := result{code: q.Get("code")}
		if out.code == "" {
			out.err = cloud.Errorf(cloud.Unauthenticated, "the provider refuses the log-in: %s %s", q.Get("error"), q.Get("error_description")).WithCommand("micro login")
		}
		fmt.Fprintln(w, "micro has got the answer. You may close this page.")
		select {
		case got <- out:
		default: // a page that was loaded again
		}
	})}
	go func() { _ = srv.Serve(l) }() // until it is closed
	defer srv.Close()
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	select {
	case out := <-got:
		// The page is to arrive before the server goes.
		stop, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		_ = srv.Shutdown(stop)
		return out.code, out.err
	case <-ctx.Done():
		return "", cloud.Errorf(cloud.Interrupted, "nobody has logged in with the browser").WithCommand("micro login --device")
	}
}

// openBrowser opens a URL in the person's browser, where that can be done. The URL has been printed too.
func openBrowser(ctx context.Context, url string) {
	program, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		program = "open"
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	_ = exec.CommandContext(ctx, program, args...).Start()
}

package portal

import (
	"context"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Callers knows people's passwords.
type Callers interface {
	// Visit returns the user whose password is right, and notes the log-in to a host. The error's text is for the person.
	Visit(ctx context.Context, name cloud.UserName, password, host, source string) (*cloud.User, error)
}

// Provided logs people in by the cloud's OpenID Connect provider.
type Provided interface {
	// Provider returns the provider's URL, "" for none.
	Provider() string
	// AuthURL returns where a browser logs in, which comes back to redirect with a code.
	AuthURL(ctx context.Context, redirect, state, nonce, challenge, source string) (string, error)
	// Arrive returns who comes back to a host with a code, and the person's groups.
	Arrive(ctx context.Context, redirect, code, verifier, nonce, host, source string) (*cloud.User, []cloud.Subject, error)
}

// Config is what a Portal needs.
type Config struct {
	Callers  Callers
	Provided Provided
	// Path is where the router leads to the portal.
	Path string
	// Cookie is the name of the cookie, and Sign its value for a user who has logged in to a host.
	Cookie string
	Sign   func(u *cloud.User, groups []cloud.Subject, host string, until time.Time) string
	Now    func() time.Time
}

// Life is how long a log-in to a host is good for.
const Life = 12 * time.Hour

// maxForm is how long the form's body may be, in bytes.
const maxForm = 16 << 10

// Portal is the page.
type Portal struct {
	Config
	mux *http.ServeMux
}

// New returns a Portal.
func New(cfg Config) *Portal {
	p := &Portal{Config: cfg, mux: http.NewServeMux()}
	p.mux.HandleFunc("GET "+p.Path, func(w http.ResponseWriter, r *http.Request) { p.show(w, r, http.StatusOK, "", "") })
	p.mux.HandleFunc("POST "+p.Path, p.login)
	p.mux.HandleFunc("POST "+p.Path+"/out", p.logout)
	p.mux.HandleFunc("POST "+p.Path+"/provider", p.leave)
	p.mux.HandleFunc("GET "+p.Path+"/callback", p.comeBack)
	return p
}

// ServeHTTP answers a request that the router has passed on.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' https: http://localhost:* http://127.0.0.1:*; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	if r.Method == http.MethodPost && !sameOrigin(r) {
		http.Error(w, "The form was sent by a page of another site.", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	p.mux.ServeHTTP(w, r)
}

// sameOrigin reports whether a form was sent by a page of the host itself, or by none.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

func (p *Portal) show(w http.ResponseWriter, r *http.Request, status int, name, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	// A client that is gone needs no page.
	_ = page.Execute(w, map[string]string{"Path": p.Path, "Host": hostName(r), "To": wayBack(r.FormValue("to"), p.Path), "Name": name, "Problem": problem, "Provider": p.Provided.Provider()})
}

func (p *Portal) login(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.show(w, r, http.StatusBadRequest, "", "The form cannot be read.")
		return
	}
	name := r.PostForm.Get("user")
	user, err := p.Callers.Visit(r.Context(), cloud.UserName(name), r.PostForm.Get("password"), hostName(r), source(r))
	if err != nil {
		status := http.StatusUnauthorized
		if cloud.CodeOf(err) != cloud.Unauthenticated {
			status = http.StatusServiceUnavailable
		}
		if cloud.UserName(name).Validate() != nil {
			name = ""
		}
		p.show(w, r, status, name, problem(err))
		return
	}
	p.admit(w, r, user, nil, r.PostForm.Get("to"))
}

// problem is what a person is told.
func problem(err error) string {
	text := err.Error()
	if hint := cloud.HintOf(err); cloud.CodeOf(err) == cloud.Unavailable && hint != "" {
		text += ": " + hint
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// admit sets the cookie of a user who has logged in, and leads back to the page that was asked for.
func (p *Portal) admit(w http.ResponseWriter, r *http.Request, u *cloud.User, groups []cloud.Subject, to string) {
	until := p.Now().Add(Life)
	http.SetCookie(w, p.cookie(r, p.Sign(u, groups, hostName(r), until), int(Life.Seconds())))
	http.Redirect(w, r, wayBack(to, p.Path), http.StatusSeeOther)
}

func (p *Portal) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, p.cookie(r, "", -1))
	http.Redirect(w, r, p.Path, http.StatusSeeOther)
}

func (p *Portal) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: p.Cookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

// wayBack is the path that a person asked for first, "/" for anything else: the page must lead nowhere but to its
// own host.
func wayBack(to, path string) string {
	plain := !strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' })
	if !plain || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, path) {
		return "/"
	}
	return to
}

// hostName is the host that was asked for, as the router compares it: without port and trailing dot, in lower case.
func hostName(r *http.Request) string {
	u := url.URL{Host: r.Host}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// source is where a log-in comes from. The last value is the router's; one before it is a client's claim.
func source(r *http.Request) string {
	values := r.Header.Values("X-Micro-Client")
	if len(values) == 0 {
		return "web"
	}
	return "web " + values[len(values)-1]
}

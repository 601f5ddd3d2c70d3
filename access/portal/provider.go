package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// A log-in by the provider is kept by the browser between its two steps, in a cookie of its own: state, nonce, verifier
// and the way back. Any node may take the second step.
const (
	stepCookie = "micro_login_step"
	stepLife   = 10 * time.Minute
)

// redirect is where the provider leads a browser back to. It must be among the client's at the provider.
func (p *Portal) redirect(r *http.Request) string {
	scheme := "http"
	if r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host + p.Path + "/callback"
}

// leave leads to the provider.
func (p *Portal) leave(w http.ResponseWriter, r *http.Request) {
	state, nonce, verifier := rand.Text(), rand.Text(), rand.Text()+rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	at, err := p.Provided.AuthURL(r.Context(), p.redirect(r), state, nonce, base64.RawURLEncoding.EncodeToString(sum[:]), source(r))
	if err != nil {
		p.show(w, r, http.StatusServiceUnavailable, "", problem(err))
		return
	}
	to := base64.RawURLEncoding.EncodeToString([]byte(wayBack(r.PostFormValue("to"), p.Path)))
	http.SetCookie(w, p.step(r, strings.Join([]string{state, nonce, verifier, to}, "."), int(stepLife.Seconds())))
	http.Redirect(w, r, at, http.StatusSeeOther)
}

func (p *Portal) step(r *http.Request, value string, age int) *http.Cookie {
	c := p.cookie(r, value, age)
	c.Name, c.Path = stepCookie, p.Path
	return c
}

// comeBack ends a log-in by the provider.
func (p *Portal) comeBack(w http.ResponseWriter, r *http.Request) {
	var parts []string
	if c, err := r.Cookie(stepCookie); err == nil {
		parts = strings.Split(c.Value, ".")
	}
	http.SetCookie(w, p.step(r, "", -1))
	q := r.URL.Query()
	if len(parts) != 4 || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(parts[0])) != 1 {
		p.show(w, r, http.StatusBadRequest, "", "This is no answer to a log-in that goes on. Try again.")
		return
	}
	if q.Get("code") == "" {
		p.show(w, r, http.StatusUnauthorized, "", "The provider refuses the log-in.")
		return
	}
	user, groups, err := p.Provided.Arrive(r.Context(), p.redirect(r), q.Get("code"), parts[2], parts[1], hostName(r), source(r))
	if err != nil {
		p.show(w, r, http.StatusUnauthorized, "", problem(err))
		return
	}
	to, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil {
		to = nil
	}
	p.admit(w, r, user, groups, string(to))
}

package access

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// memory is a store in memory.
type memory struct {
	mu    sync.Mutex
	state *cloud.State
	lines []string
}

func (m *memory) State() *cloud.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

func (m *memory) Update(_ context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changes, err := fn(m.state)
	if err == nil {
		m.state = m.state.Apply(m.state.Rev()+1, changes)
		m.lines = append(m.lines, fmt.Sprintf("%s %s %s", by.Name, verb, object))
	}
	return m.state, err
}

func (m *memory) Record(_ context.Context, by cloud.Actor, verb, object, result string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, fmt.Sprintf("%s %s %s: %s", by.Name, verb, object, result))
	return nil
}

func (m *memory) Refused(by cloud.Actor, verb, object string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, fmt.Sprintf("%s %s %s: refused", by.Name, verb, object))
}

type world struct {
	*testing.T
	*Access
	m   *memory
	now time.Time
}

const password = "correct horse battery"

func begin(t *testing.T) *world {
	w := &world{T: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s := cloud.NewState()
	w.m = &memory{state: s.Apply(1, s.Init(cloud.Stamp{At: w.now}))}
	w.Access = New(w.m, nil, func() time.Time { return w.now })
	hash, err := w.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	w.do(func(s *cloud.State) ([]cloud.Change, error) {
		return s.CreateUser("anna", hash, nil, cloud.Stamp{At: w.now})
	})
	root := cloud.Actor{Name: "root", Role: cloud.RoleAdmin}
	w.do(func(s *cloud.State) ([]cloud.Change, error) {
		return s.GrantRole("user:anna", cloud.RoleDeveloper, cloud.DefaultGroup, root, cloud.Stamp{At: w.now})
	})
	return w
}

func (w *world) do(fn func(*cloud.State) ([]cloud.Change, error)) {
	w.Helper()
	if _, err := w.m.Update(w.Context(), cloud.Actor{Name: "test"}, "test", "", fn); err != nil {
		w.Fatal(err)
	}
}

func (w *world) login(user cloud.UserName, password, source string) (string, error) {
	text, _, err := w.Login(w.Context(), user, password, source)
	return text, err
}

func (w *world) refused(err error, code cloud.Code, part string) {
	w.Helper()
	if cloud.CodeOf(err) != code || !strings.Contains(err.Error()+" "+cloud.HintOf(err), part) {
		w.Errorf("got %v (%s), want %s: %s", err, cloud.CodeOf(err), code, part)
	}
}

func TestLoginAndRevocation(t *testing.T) {
	w := begin(t)
	text, err := w.login("anna", password, "https 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	by, until, err := w.Caller(text, "https 192.0.2.1")
	if err != nil || by.Name != "anna" || until != w.now.Add(SessionLife) {
		t.Errorf("%+v until %s, %v", by, until, err)
	}
	if role := w.m.State().RoleIn(by, cloud.DefaultGroup); role != cloud.RoleDeveloper {
		t.Errorf("role %q", role)
	}
	w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.RevokeToken(by.Token, by) })
	_, _, err = w.Caller(text, "")
	w.refused(err, cloud.Unauthenticated, "micro login")
	if role := w.m.State().RoleIn(by, cloud.DefaultGroup); role != cloud.RoleNone {
		t.Errorf("an actor whose token is gone is %q", role)
	}
	// What an admin does to a user ends the user's log-ins.
	for name, fn := range map[string]func(*cloud.State) ([]cloud.Change, error){
		"another password": func(s *cloud.State) ([]cloud.Change, error) { return s.SetPassword("anna", w.hash(password)) },
		"disabled":         func(s *cloud.State) ([]cloud.Change, error) { return s.DisableUser("anna", true) },
		"deleted":          func(s *cloud.State) ([]cloud.Change, error) { return s.DeleteUser("anna") },
	} {
		w := begin(t)
		text, err := w.login("anna", password, "a")
		if err != nil {
			t.Fatal(err)
		}
		w.do(fn)
		if _, _, err := w.Caller(text, ""); cloud.CodeOf(err) != cloud.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The clock is moved: a token that has expired is none, and one that is good in a clock put back is good.
func TestExpiry(t *testing.T) {
	w := begin(t)
	text, err := w.login("anna", password, "a")
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(-48 * time.Hour)
	if _, _, err := w.Caller(text, ""); err != nil {
		t.Errorf("two days back: %v", err)
	}
	w.now = w.now.Add(96 * time.Hour)
	_, _, err = w.Caller(text, "")
	w.refused(err, cloud.Unauthenticated, "has expired at 2026-11-23T00:00:00Z")
	// The next log-in drops what has expired.
	if _, err := w.login("anna", password, "a"); err != nil {
		t.Fatal(err)
	}
	count := 0
	for range w.m.State().Tokens() {
		count++
	}
	if count != 1 {
		t.Errorf("%d tokens are kept", count)
	}
}

func TestThrottle(t *testing.T) {
	w := begin(t)
	for range freePerPair {
		_, err := w.login("anna", "wrong", "https 192.0.2.1")
		w.refused(err, cloud.Unauthenticated, "the user name or the password is wrong")
	}
	_, err := w.login("anna", password, "https 192.0.2.1") // also the right one
	w.refused(err, cloud.Unavailable, "try again in 1s")
	if _, err := w.login("anna", password, "https 192.0.2.2"); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	w.now = w.now.Add(time.Second)
	_, err = w.login("anna", "wrong", "https 192.0.2.1")
	w.refused(err, cloud.Unauthenticated, "wrong")
	_, err = w.login("anna", "wrong", "https 192.0.2.1")
	w.refused(err, cloud.Unavailable, "try again in 2s")
	w.now = w.now.Add(-48 * time.Hour) // a clock that is put back locks nobody out
	if _, err := w.login("anna", password, "https 192.0.2.1"); err != nil {
		t.Errorf("in a clock put back: %v", err)
	}
	// A source that tries many users is slowed down too.
	for i := range freePerSource {
		_, _ = w.login(cloud.UserName(fmt.Sprintf("user%d", i)), "wrong", "https 192.0.2.9")
	}
	_, err = w.login("anna", password, "https 192.0.2.9")
	w.refused(err, cloud.Unavailable, "too many log-ins")
}

// What failed is noted without what was typed.
func TestRefusedLoginsAreNoted(t *testing.T) {
	w := begin(t)
	_, _ = w.login("anna", "wrong", "a")
	_, _ = w.login("hunter2hunter2", "wrong", "a")
	all := strings.Join(w.m.lines, "\n")
	if !strings.Contains(all, "anna login : refused") || !strings.Contains(all, "unknown login : refused") || strings.Contains(all, "hunter2") {
		t.Errorf("noted:\n%s", all)
	}
}

// An unknown user, one without a password and a disabled one cost what a wrong password costs: one hash.
func TestUnknownUserCostsTheSame(t *testing.T) {
	p := NewPasswords()
	hash := p.hash(password)
	for name, u := range map[string]*cloud.User{
		"wrong password": {Name: "anna", Password: hash}, "unknown": nil, "without password": {Name: "bob"},
		"disabled": {Name: "carl", Password: hash, Disabled: true},
	} {
		before := p.hashed.Load()
		if err := p.Verify(u, "wrong password"); err == nil {
			t.Errorf("%s: a wrong password is right", name)
		}
		if n := p.hashed.Load() - before; n != 1 {
			t.Errorf("%s: %d hashes", name, n)
		}
	}
	if used, _ := parseHash(p.nobody); used.memory != hashMemory || used.time != hashTime || used.threads != hashThreads {
		t.Errorf("nobody's hash costs %+v", used)
	}
	if err := p.Verify(&cloud.User{Password: hash}, password); err != nil {
		t.Error(err)
	}
	if err := p.Verify(&cloud.User{Password: hash, Disabled: true}, password); err == nil {
		t.Error("a disabled user logs in")
	}
}

func TestNothingSecretIsKept(t *testing.T) {
	w := begin(t)
	text, err := w.login("anna", password, "a")
	if err != nil {
		t.Fatal(err)
	}
	for k, o := range w.m.State().Objects() {
		b, err := cloud.Put(o).Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{text, text[len(tokenPrefix)+idLength:], password} {
			if strings.Contains(string(b), secret) || strings.Contains(string(k), secret) {
				t.Errorf("%s holds a secret", k)
			}
		}
	}
}

func FuzzParseToken(f *testing.F) {
	text, _, _ := NewToken()
	f.Add(text)
	f.Add(text[:len(text)-1])
	f.Add(tokenPrefix)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		id, hash, err := ParseToken(text)
		if err != nil {
			if id != "" || hash != "" || cloud.CodeOf(err) != cloud.Unauthenticated || strings.Contains(err.Error(), text) && len(text) > 8 {
				t.Errorf("%q: %q, %v", text, id, err)
			}
			return
		}
		if len(text) != tokenLength || !strings.HasPrefix(text, tokenPrefix+string(id)) || len(hash) != 64 {
			t.Errorf("%q is taken for a token", text)
		}
	})
}

// One changed character makes a token that is not looked up.
func TestTokens(t *testing.T) {
	text, id, hash := NewToken()
	if got, sum, err := ParseToken(text); err != nil || got != id || sum != hash {
		t.Fatalf("%q, %v", got, err)
	}
	for i := range text {
		changed := []byte(text)
		changed[i] = 'x'
		if text[i] == 'x' {
			changed[i] = 'y'
		}
		if _, _, err := ParseToken(string(changed)); err == nil {
			t.Errorf("a token with character %d changed is taken for whole", i)
		}
	}
	other, otherID, _ := NewToken()
	if other == text || otherID == id {
		t.Error("two tokens are alike")
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(NewPasswords().nobody)
	f.Add("$argon2id$v=19$m=1,t=1,p=1$$")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := parseHash(text); err == nil && (h.memory > 1<<20 || h.time > 100 || len(h.key) < 16) {
			t.Errorf("%q would cost %+v", text, h)
		}
	})
}

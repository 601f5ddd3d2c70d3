package cloud

import (
	"iter"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook is a URL that is told of what happens to a group's apps.
type Webhook struct {
	Group GroupName `json:"group"`
	Name  string    `json:"name"`
	URL   string    `json:"url"`
	// Secret is the key of the signature that the receiver may check.
	Secret string `json:"secret"`
	// Kinds are what is told; empty for all kinds.
	Kinds []NoticeKind `json:"kinds,omitempty"`
	// Inside allows addresses that only the nodes can reach, such as those of a private network.
	Inside  bool      `json:"inside,omitempty"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
}

// maxWebhooks is the largest number of webhooks of a group.
const maxWebhooks = 20

// Key is "webhooks/GROUP/NAME".
func (w *Webhook) Key() Key { return webhookKey(w.Group, w.Name) }

func (w *Webhook) touch(*touched)    {}
func (w *Webhook) indexes() []string { return nil }

func webhookKey(g GroupName, name string) Key { return Key("webhooks/" + string(g) + "/" + name) }

// Webhook returns the webhook of a name.
func (s *State) Webhook(g GroupName, name string) (*Webhook, bool) {
	return get[*Webhook](s, webhookKey(g, name))
}

// Webhooks yields the webhooks of a group by name; "" for all groups.
func (s *State) Webhooks(g GroupName) iter.Seq[*Webhook] {
	if g == "" {
		return all[*Webhook](s, "webhooks/")
	}
	return all[*Webhook](s, "webhooks/"+string(g)+"/")
}

// Tells reports whether the webhook is told of a notice.
func (w *Webhook) Tells(n Notice) bool {
	return n.App.Group == w.Group && !n.Time.Before(w.Created) && (len(w.Kinds) == 0 || slices.Contains(w.Kinds, n.Kind))
}

// AddWebhook returns the changes that add a webhook. Its name must be new in the group.
func (s *State) AddWebhook(w Webhook, at Stamp) ([]Change, error) {
	if _, ok := s.Group(w.Group); !ok {
		return nil, Errorf(NotFound, "no group %q", w.Group).WithCommand("micro group list")
	}
	if err := AppName(w.Name).Validate(); err != nil {
		return nil, Errorf(Invalid, "webhook name %q is invalid", w.Name).WithHint("write it like an app's name, for example --name chat")
	}
	if _, ok := s.Webhook(w.Group, w.Name); ok {
		return nil, Errorf(Conflict, "webhook %s already exists", w.Name).WithCommand("micro webhook remove %s", w.Name)
	}
	if err := checkWebhookURL(w.URL, w.Inside); err != nil {
		return nil, err
	}
	for _, k := range w.Kinds {
		if !slices.Contains(NoticeKinds(), k) {
			return nil, Errorf(Invalid, "unknown kind %q", k).WithHint("choose from %s", strings.Join(texts(NoticeKinds()), ", "))
		}
	}
	n := 0
	for range s.Webhooks(w.Group) {
		n++
	}
	if n >= maxWebhooks {
		return nil, Errorf(Conflict, "group %s already has %d webhooks", w.Group, maxWebhooks).WithCommand("micro webhook list")
	}
	w.Created, w.By = at.At, at.By
	return []Change{Put(&w)}, nil
}

// RemoveWebhook returns the changes that remove a webhook.
func (s *State) RemoveWebhook(g GroupName, name string) ([]Change, error) {
	w, err := s.MustWebhook(g, name)
	if err != nil {
		return nil, err
	}
	return []Change{Delete(w)}, nil
}

// MustWebhook returns a webhook, or an error for users.
func (s *State) MustWebhook(g GroupName, name string) (*Webhook, error) {
	w, ok := s.Webhook(g, name)
	if !ok {
		return nil, Errorf(NotFound, "no webhook %q", name).WithCommand("micro webhook list")
	}
	return w, nil
}

// checkWebhookURL requires https, which keeps the URL and the messages secret on their way. Receivers inside may use http.
func checkWebhookURL(text string, inside bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || len(text) > 2000 || u.Scheme != "http" && u.Scheme != "https":
		return Errorf(Invalid, "%q is not a URL", text).WithHint("for example https://chat.example.com/hooks/TOKEN")
	case u.User != nil:
		return Errorf(Invalid, "the URL has a user name in it").WithHint("put the receiver's token into the path, or check the signature")
	case u.Scheme == "http" && !inside:
		return Errorf(Invalid, "%q would send in clear text", text).WithHint("use https, or --inside for a receiver of your own network")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !inside && !a.IsGlobalUnicast() {
		return Errorf(Denied, "%s is an address that only this machine can reach", a).WithHint("an administrator of the cloud may allow it with --inside")
	}
	return nil
}

func texts[T ~string](all []T) (out []string) {
	for _, t := range all {
		out = append(out, string(t))
	}
	return out
}

package cloud

import (
	"strings"
	"testing"
	"time"
)

func TestWebhooks(t *testing.T) {
	y := begin(t)
	add := func(w Webhook) ([]Change, error) {
		if w.Group == "" {
			w.Group = DefaultGroup
		}
		return y.s.AddWebhook(w, ann)
	}
	y.do(add(Webhook{Name: "chat", URL: "https://chat.example.com/hooks/x", Kinds: []NoticeKind{NoticeAborted}}))
	y.do(add(Webhook{Name: "in", URL: "http://10.0.0.7/x", Inside: true}))
	for _, c := range []struct {
		w    Webhook
		code Code
		part string
	}{
		{Webhook{Name: "chat", URL: "https://chat.example.com/"}, Conflict, "already exists"},
		{Webhook{Group: "nosuch", Name: "a", URL: "https://chat.example.com/"}, NotFound, "no group"},
		{Webhook{Name: "A b", URL: "https://chat.example.com/"}, Invalid, "name"},
		{Webhook{Name: "a", URL: "chat.example.com"}, Invalid, "is not a URL"},
		{Webhook{Name: "a", URL: "ftp://chat.example.com"}, Invalid, "is not a URL"},
		{Webhook{Name: "a", URL: "http://chat.example.com"}, Invalid, "clear text"},
		{Webhook{Name: "a", URL: "https://user:pass@chat.example.com"}, Invalid, "user name"},
		{Webhook{Name: "a", URL: "https://127.0.0.1/"}, Denied, "only this machine"},
		{Webhook{Name: "a", URL: "https://chat.example.com", Kinds: []NoticeKind{"weather"}}, Invalid, `unknown kind "weather"`},
	} {
		if changes, err := add(c.w); CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) || HintOf(err) == "" || changes != nil {
			t.Errorf("%+v: %v", c.w, err)
		}
	}
	changes, err := y.s.RemoveWebhook(DefaultGroup, "nosuch")
	y.refuses(changes, err, NotFound, "no webhook")
	y.do(y.s.RemoveWebhook(DefaultGroup, "in"))
	w, _ := y.s.Webhook(DefaultGroup, "chat")
	told := Notice{Kind: NoticeAborted, App: shop, Time: noon}
	for what, c := range map[string]struct {
		change func(*Notice)
		want   bool
	}{
		"its kind":         {func(*Notice) {}, true},
		"another kind":     {func(n *Notice) { n.Kind = NoticeFailed }, false},
		"another group":    {func(n *Notice) { n.App.Group = "qa" }, false},
		"from before it":   {func(n *Notice) { n.Time = noon.Add(-time.Second) }, false},
		"from long before": {func(n *Notice) { n.Time = time.Time{} }, false},
	} {
		n := told
		c.change(&n)
		if w.Tells(n) != c.want {
			t.Errorf("%s: %t", what, !c.want)
		}
	}
}

// The notices of an app are what its releases have been through.
func TestNotices(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.fade(www, shop.Release(2)))
	y.do(y.s.AbortCrossfade(www, "/", "errors got worse", nil, Stamp{At: noon.Add(time.Hour), By: "micro"}))
	var texts []string
	ids := map[string]bool{}
	for _, n := range y.s.Notices(shop, time.Time{}) {
		texts = append(texts, string(n.Kind)+": "+n.Text)
		ids[n.ID] = true
	}
	got := strings.Join(texts, "\n")
	want := "crossfade-started: ann started a cross-fade of www.example.com from shop@r1 to shop@r2\n" +
		"crossfade-aborted: www.example.com is rolled back from shop@r2 to shop@r1: errors got worse"
	if got != want || len(ids) != 2 {
		t.Errorf("notices:\n%s\nwant:\n%s", got, want)
	}
	if since := y.s.Notices(shop, noon.Add(time.Minute)); len(since) != 1 {
		t.Errorf("since: %+v", since)
	}
}

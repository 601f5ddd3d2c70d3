package addresses

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// URLs returns the URLs of a host, first the one under localhost: such names resolve to this machine without any
// set-up (RFC 6761, section 6.3).
func (b *Bound) URLs(h cloud.Host) []string {
	if port := h.Port(); port != 0 {
		return b.portURLs(port, false)
	}
	addrs := b.Internal
	if len(addrs) == 0 {
		return nil
	}
	port := ""
	if p := addrs[0].Port(); p != 80 {
		port = fmt.Sprintf(":%d", p)
	}
	var urls []string
	if name, ok := strings.CutSuffix(string(h), "."+string(b.Domain)); ok && addrs[0].Addr().IsLoopback() {
		urls = append(urls, "http://"+name+".localhost"+port)
	}
	return append(urls, "http://"+string(h)+port)
}

// PublicURLs returns what opens a public host: where the node has public listeners, their ports.
func (b *Bound) PublicURLs(h cloud.Host) []string {
	if urls := b.OutsideURLs(h); len(urls) > 0 {
		return urls
	}
	return b.URLs(h)
}

// OutsideURLs returns what opens a host on the public listeners, none where the node has none.
func (b *Bound) OutsideURLs(h cloud.Host) (urls []string) {
	if port := h.Port(); port != 0 {
		return b.portURLs(port, true)
	}
	for _, public := range []struct {
		scheme    string
		port      int
		listeners []net.Listener
	}{{"http", 80, b.Public}, {"https", 443, b.PublicHTTPS}} {
		for _, ln := range public.listeners {
			addr, ok := ln.Addr().(*net.TCPAddr)
			if !ok {
				continue
			}
			url := public.scheme + "://" + string(h)
			if addr.Port != public.port {
				url += fmt.Sprintf(":%d", addr.Port)
			}
			if !slices.Contains(urls, url) {
				urls = append(urls, url)
			}
		}
	}
	return urls
}

package addresses

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// URLs returns the URLs of a host, first the one under localhost: such names resolve to this machine without any
// set-up (RFC 6761, section 6.3).
func (b *Bound) URLs(h cloud.Host) []string {
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

package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	hedge    = 500 * time.Millisecond // without an answer, one more is asked
	maxTries = 4
)

var errNoUpstream = errors.New("no upstream resolver is known")

// ask puts the question to one upstream after the other and returns the first good answer. One that
// fails is followed by the next at once; one that is silent keeps its chance while the next is asked.
func (f *Forwarder) ask(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	upstreams := f.servers.list(*f.own.Load())
	if len(upstreams) == 0 {
		return nil, errNoUpstream
	}
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		from   netip.AddrPort
		answer *dns.Msg
		err    error
	}
	results := make(chan result, maxTries)
	tries, waiting := 0, 0
	try := func() {
		if tries == maxTries {
			return
		}
		from := upstreams[tries%len(upstreams)]
		tries++
		waiting++
		go func() {
			answer, err := exchange(ctx, m, from)
			results <- result{from, answer, err}
		}()
	}
	defer func() { // nothing outlives the look-up
		for cancel(); waiting > 0; waiting-- {
			<-results
		}
	}()
	try()
	tick := time.NewTicker(hedge)
	defer tick.Stop()
	var errs []error
	for waiting > 0 {
		select {
		case r := <-results:
			waiting--
			if r.err == nil {
				f.servers.prefer(r.from)
				return r.answer, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", r.from, r.err))
			if tries < len(upstreams) {
				try()
			}
		case <-tick.C:
			try()
		case <-ctx.Done():
			return nil, errors.Join(append(errs, ctx.Err())...)
		}
	}
	return nil, errors.Join(errs...)
}

// exchange asks one upstream, by UDP from a port of the kernel's choice with a random ID, and by TCP
// where the answer is too long for that.
func exchange(ctx context.Context, m *dns.Msg, upstream netip.AddrPort) (*dns.Msg, error) {
	answer, err := exchangeBy(ctx, "udp", m, upstream)
	if answer != nil && answer.Truncated {
		answer, err = exchangeBy(ctx, "tcp", m, upstream)
	}
	switch {
	case err != nil:
		return nil, err
	case answer.Truncated:
		return nil, errors.New("the answer is truncated by TCP too")
	case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
		return nil, errors.New(dns.RcodeToString[answer.Rcode])
	}
	return answer, nil
}

func exchangeBy(ctx context.Context, network string, m *dns.Msg, upstream netip.AddrPort) (*dns.Msg, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, upstream.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	query := m.Copy()
	query.Id = dns.Id()
	client := dns.Client{Net: network, Timeout: lookupTime}
	answer, _, err := client.ExchangeWithConnContext(ctx, query, &dns.Conn{Conn: conn})
	switch {
	case answer != nil && answer.Truncated && network == "udp":
		return answer, nil // perhaps cut in the middle of a record
	case err != nil:
		return nil, err
	case !answers(answer, query):
		return nil, errors.New("the answer is to another question")
	}
	return answer, nil
}

// answers reports whether a message is the answer to a query (RFC 5452, section 9.1).
func answers(answer, query *dns.Msg) bool {
	if !answer.Response || answer.Id != query.Id || len(answer.Question) != 1 {
		return false
	}
	a, q := answer.Question[0], query.Question[0]
	return strings.EqualFold(a.Name, q.Name) && a.Qtype == q.Qtype && a.Qclass == q.Qclass
}

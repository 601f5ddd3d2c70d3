package dnsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// attemptTime is how long one upstream has for its answer. Clients don't wait as long; a late answer is
	// cached for clients that ask again.
	attemptTime = 5 * time.Second
	// resendAfter is how long to wait before a query is sent again. It doubles each time.
	resendAfter = 500 * time.Millisecond
)

// question is one question to an upstream.
type question struct {
	name         string
	qtype, class uint16
	do, cd       bool
}

func newQuestion(q *Query) (question, error) {
	name, _, err := dns.UnpackDomainName(q.Name(), 0)
	return question{name: name, qtype: q.Type, class: q.Class, do: q.DO, cd: q.Flags&flagCD != 0}, err
}

// message returns a query with a random ID.
func (q question) message(withOPT bool) *dns.Msg {
	m := &dns.Msg{Question: []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: q.class}}}
	m.Id, m.RecursionDesired, m.CheckingDisabled = dns.Id(), true, q.cd
	if withOPT {
		m.SetEdns0(maxUDP, q.do)
	}
	return m
}

// ask returns the upstream's answer, which has rcode NOERROR or NXDOMAIN; every other rcode is an error. It
// asks by UDP from a random port, and again by TCP if that answer is truncated. The returned answer is
// truncated only if the query by TCP failed.
func (u *upstream) ask(ctx context.Context, q question) (*dns.Msg, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	answer, withOPT, err := u.askUDP(limited, q)
	if err == nil && answer.Truncated {
		long, tcpErr := u.askTCP(limited, q, withOPT)
		switch {
		case tcpErr == nil:
			answer = long
		case len(answer.Answer) == 0:
			err = tcpErr
		}
	}
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			u.setSilent(began)
		}
		return nil, err
	}
	if code := rcodeOf(answer); code != dns.RcodeSuccess && code != dns.RcodeNameError {
		return nil, errors.New(RcodeLabel(code))
	}
	return answer, nil
}

// rcodeOf returns an answer's rcode, including the upper bits from the OPT record.
func rcodeOf(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		return m.Rcode&0xf | opt.ExtendedRcode()
	}
	return m.Rcode & 0xf
}

// askUDP repeats the query until there is an answer. withOPT reports whether the answered query had an OPT
// record. If the upstream rejects OPT records or is silent, askUDP tries without one.
func (u *upstream) askUDP(ctx context.Context, q question) (answer *dns.Msg, withOPT bool, err error) {
	conn, err := u.dial(ctx, "udp")
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	support := u.ednsSupport()
	c := &conversation{conn: conn, question: q, buf: make([]byte, 4096)}
	wait, rejected := resendAfter, false
	for n := 0; ; n++ {
		if err := c.send(!rejected && support.sendsOPT(n)); err != nil {
			return nil, false, contextErrOr(ctx, err)
		}
		deadline := time.Now().Add(wait)
		wait *= 2
		for {
			answer, to, err := c.receive(deadline)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, false, contextErrOr(ctx, err)
			}
			u.setHeard()
			if !to.withOPT || !rejectsOPT(answer, support) {
				u.learnEDNS(answer, to.withOPT, rejected, support)
				return answer, to.withOPT, nil
			}
			if !rejected { // otherwise this answers an earlier query, before OPT was dropped
				rejected = true
				break
			}
		}
	}
}

// sendsOPT reports whether the n-th query for a question, counted from 0, has an OPT record. Later queries
// have none, because some upstreams drop queries with an OPT record, and some networks drop long answers.
func (e ednsSupport) sendsOPT(n int) bool {
	switch e {
	case ednsUnknown:
		return n%2 == 0
	case ednsWorks:
		return n < 2
	case ednsRejected:
	}
	return false
}

// rejectsOPT reports whether an error answer may be caused by the query's OPT record. SERVFAIL has many
// causes, so it counts only for an upstream that has never answered a query with an OPT record.
func rejectsOPT(answer *dns.Msg, support ednsSupport) bool {
	switch rcodeOf(answer) {
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		return true
	case dns.RcodeServerFailure:
		return support == ednsUnknown
	}
	return false
}

// learnEDNS records for later queries whether the upstream answers queries with an OPT record.
func (u *upstream) learnEDNS(answer *dns.Msg, withOPT, rejected bool, support ednsSupport) {
	code := rcodeOf(answer)
	switch answered := code == dns.RcodeSuccess || code == dns.RcodeNameError; {
	case !answered || support == ednsRejected:
	case withOPT:
		u.setEDNS(ednsWorks, 0)
	case rejected:
		u.setEDNS(ednsRejected, rejectedFor)
	case support == ednsUnknown:
		u.setEDNS(ednsRejected, silentFor)
	}
}

func (u *upstream) askTCP(ctx context.Context, q question, withOPT bool) (*dns.Msg, error) {
	conn, err := u.dial(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, query := &dns.Conn{Conn: conn}, q.message(withOPT)
	if err := c.WriteMsg(query); err != nil {
		return nil, contextErrOr(ctx, err)
	}
	answer, err := c.ReadMsg()
	switch {
	case err != nil:
		return nil, contextErrOr(ctx, err)
	case !isAnswerTo(answer, query):
		return nil, errors.New("the answer does not match the question")
	case answer.Truncated:
		return nil, errors.New("the answer is truncated even by TCP")
	}
	return answer, nil
}

func (u *upstream) dial(ctx context.Context, network string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, u.addr.String())
}

// contextErrOr returns the context's error if it has ended, because that closed the connection; otherwise err.
func contextErrOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// conversation is all queries for one question, sent from one port.
type conversation struct {
	conn     net.Conn
	question question
	queries  []sent
	buf      []byte
}

type sent struct {
	query   *dns.Msg
	withOPT bool
}

func (c *conversation) send(withOPT bool) error {
	query := c.question.message(withOPT)
	wire, err := query.Pack()
	if err != nil {
		return err
	}
	c.queries = append(c.queries, sent{query, withOPT})
	_, err = c.conn.Write(wire)
	return err
}

// receive waits for the answer to one of the queries. It ignores other messages, which may be forged.
func (c *conversation) receive(deadline time.Time) (*dns.Msg, *sent, error) {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return nil, nil, err
	}
	for {
		n, err := c.conn.Read(c.buf)
		if err != nil {
			return nil, nil, err
		}
		for i := range c.queries {
			if answer, ok := readAnswer(c.buf[:n], c.queries[i].query); ok {
				return answer, &c.queries[i], nil
			}
		}
	}
}

// readAnswer parses a message received by UDP and reports whether it answers the query. A message that has
// the TC flag and ends inside a record counts as truncated. Any other malformed answer counts as FORMERR:
// an upstream that sends one probably could not read our query either.
func readAnswer(wire []byte, query *dns.Msg) (*dns.Msg, bool) {
	if len(wire) < headerLen || binary.BigEndian.Uint16(wire) != query.Id || wire[2]&0x80 == 0 {
		return nil, false
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(wire); err == nil {
		code := rcodeOf(answer)
		if len(answer.Question) == 0 && code != dns.RcodeSuccess && code != dns.RcodeNameError {
			answer.Question = query.Question // some servers leave out a question that they did not understand
		}
		return answer, isAnswerTo(answer, query)
	}
	broken := &dns.Msg{MsgHdr: answer.MsgHdr, Question: query.Question}
	if broken.Answer, broken.Ns, broken.Extra = nil, nil, nil; !broken.Truncated {
		broken.Rcode = dns.RcodeFormatError
	}
	return broken, true
}

// isAnswerTo reports whether a message answers the query (RFC 5452, section 9.1).
func isAnswerTo(answer, query *dns.Msg) bool {
	if !answer.Response || answer.Id != query.Id || len(answer.Question) != 1 {
		return false
	}
	a, q := answer.Question[0], query.Question[0]
	return strings.EqualFold(a.Name, q.Name) && a.Qtype == q.Qtype && a.Qclass == q.Qclass
}

// String is the upstream's name in messages.
func (u *upstream) String() string { return fmt.Sprintf("upstream %s", u.addr) }

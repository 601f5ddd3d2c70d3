package network

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// pingEvery is how often each peer's gateway is asked for an answer.
	pingEvery = 400 * time.Millisecond
	// lostAfter is how many questions in a row may stay without an answer.
	lostAfter = 3
)

// Watch asks the gateways of all peers for an answer over the overlay, and calls changed when one answers for the
// first time, stops answering or answers again, until ctx ends. A peer that has never answered counts as reachable: a firewall may refuse to let it
// answer. A node that does not answer can't be reached for its instances either, while one whose micro restarts can.
func (n *Network) Watch(ctx context.Context, changed func(node cloud.NodeName, reachable bool)) error {
	next := time.NewTimer(pingEvery)
	defer next.Stop()
	p := pinger{gateway: n.Gateway(), id: uint16(rand.Uint32()), changed: changed, beginAnew: n.beginAnew, answered: make(chan netip.Addr, 64)}
	defer p.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case from := <-p.answered:
			p.note(from)
		case <-next.C:
			for len(p.answered) > 0 { // answers that were there before the next question
				p.note(<-p.answered)
			}
			n.mu.Lock()
			peers := n.peers
			n.mu.Unlock()
			if err := p.ask(peers); err != nil {
				n.log.Warn("cannot ask other nodes whether they are reachable", "err", err)
			}
			if len(peers) > 0 {
				next.Reset(pingEvery)
			} else {
				next.Reset(interval) // a node that is the whole cloud need not wake up so often
			}
		}
	}
}

// pinger sends echo requests of ICMP (RFC 792).
type pinger struct {
	gateway netip.Addr
	id      uint16
	changed func(cloud.NodeName, bool)
	// beginAnew begins a new session with a peer of which no answer comes, where only this node can do so.
	beginAnew func(cloud.NodeName)
	conn      net.PacketConn // nil while there are no peers
	targets   map[netip.Addr]*pinged
	answered  chan netip.Addr
}

// pinged is a peer's gateway.
type pinged struct {
	node   cloud.NodeName
	known  bool // it has answered once
	missed int  // answers in a row
	lost   bool
	begins bool // this node alone can begin a session with it
}

func (p *pinger) note(from netip.Addr) {
	t := p.targets[from]
	if t == nil {
		return
	}
	if !t.known || t.lost {
		p.changed(t.node, true)
	}
	t.known, t.lost, t.missed = true, false, 0
}

// ask counts the last questions that nobody has answered, and asks again.
func (p *pinger) ask(peers []Peer) error {
	if len(peers) == 0 {
		p.close()
		return nil
	}
	if err := p.open(); err != nil {
		return err
	}
	targets := make(map[netip.Addr]*pinged, len(peers))
	for _, peer := range peers {
		a := gateway(peer.Subnet)
		t := p.targets[a]
		if t == nil || t.node != peer.Node {
			t = &pinged{node: peer.Node}
		}
		t.begins = peer.Begins
		targets[a] = t
	}
	for a, t := range p.targets {
		if targets[a] != t && t.lost {
			p.changed(t.node, true) // it is no peer any more: nothing is known of it
		}
	}
	p.targets = targets
	for a, t := range targets {
		if t.missed++; t.known && t.missed > lostAfter && !t.lost {
			t.lost = true
			p.changed(t.node, false)
		}
		if t.begins && t.missed > lostAfter && t.missed%lostAfter == 0 {
			p.beginAnew(t.node)
		}
		_, _ = p.conn.WriteTo(echo(p.id), &net.IPAddr{IP: a.AsSlice()}) // no way there is no answer
	}
	return nil
}

func (p *pinger) open() error {
	if p.conn != nil {
		return nil
	}
	conn, err := net.ListenPacket("ip4:icmp", p.gateway.String())
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	p.conn = conn
	go func() { // ends when conn is closed
		b := make([]byte, 128)
		for {
			k, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			addr, ok := from.(*net.IPAddr)
			if ip, valid := netip.AddrFromSlice(addr.IP); ok && valid && k >= 8 && b[0] == echoReply && binary.BigEndian.Uint16(b[4:]) == p.id {
				select {
				case p.answered <- ip.Unmap():
				default:
				}
			}
		}
	}()
	return nil
}

func (p *pinger) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
	p.targets = nil
}

const (
	echoReply   = 0
	echoRequest = 8
)

// echo returns an echo request with its checksum.
func echo(id uint16) []byte {
	b := make([]byte, 8)
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	sum := uint32(b[0])<<8 + uint32(id)
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

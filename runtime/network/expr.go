package network

import (
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// match is a part of a rule, which `nft` would write as a few words.
type match []expr.Any

func drop() match   { return match{&expr.Verdict{Kind: expr.VerdictDrop}} }
func accept() match { return match{&expr.Verdict{Kind: expr.VerdictAccept}} }

// reset answers a TCP packet with a reset, which the sender sees as "connection refused".
func reset() match { return match{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}} }

// unreachable answers a packet by ICMP: nobody listens at the port.
func unreachable() match {
	return match{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}
}

func iifname() expr.Any        { return &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1} }
func oifname() expr.Any        { return &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1} }
func mark(reg uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg} }

// fromInterface and out match interfaces by a prefix of their name: they compare fewer bytes than a name has.
func fromInterface(prefix string) match { return match{iifname(), cmp(expr.CmpOpEq, []byte(prefix))} }
func notFromInterface(prefix string) match {
	return match{iifname(), cmp(expr.CmpOpNeq, []byte(prefix))}
}
func toInterface(prefix string) match    { return match{oifname(), cmp(expr.CmpOpEq, []byte(prefix))} }
func notToInterface(prefix string) match { return match{oifname(), cmp(expr.CmpOpNeq, []byte(prefix))} }

func cmp(op expr.CmpOp, data []byte) expr.Any { return &expr.Cmp{Op: op, Register: 1, Data: data} }

func family(f byte) match {
	return match{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{f})}
}

func protocol(p byte) match {
	return match{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{p})}
}

func port(p uint16) match {
	return match{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		cmp(expr.CmpOpEq, binaryutil.BigEndian.PutUint16(p)),
	}
}

func established() match {
	bits := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return match{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: bits, Xor: make([]byte, 4)},
		cmp(expr.CmpOpNeq, make([]byte, 4)),
	}
}

// Offsets in the IPv4 header.
const (
	sourceOffset      = 12
	destinationOffset = 16
)

func saddr(bits int, network []byte) match { return address(sourceOffset, bits, network) }
func daddr(bits int, network []byte) match { return address(destinationOffset, bits, network) }

func address(offset uint32, bits int, network []byte) match {
	return append(family(unix.NFPROTO_IPV4),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(bits, 32), Xor: make([]byte, 4)},
		cmp(expr.CmpOpEq, network))
}

func notDaddr(ip []byte) match {
	return append(family(unix.NFPROTO_IPV4),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4},
		cmp(expr.CmpOpNeq, ip))
}

// source loads the source address into the register after the interface's name, for a lookup of both. A name fills
// the first 16-byte register; the second one is number 2.
func source(reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: 4}
}

// destination is the same for the destination address.
func destination(reg uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4}
}

func lookup(s *nftables.Set, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: invert}
}

func mapping(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: s.Name, SetID: s.ID}
}

func ifname(s string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, s)
	return b
}

func concat(a, b []byte) []byte { return append(append([]byte(nil), a...), b...) }

package network

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The names of a node's tables end in the hash of its name.
const (
	tablePrefix  = "micro_"
	egressPrefix = "egress_"
)

// nodeTables returns the names of the tables of all nodes on this machine.
func nodeTables(c *nftables.Conn) (names []string, err error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("network: list tables: %w", err)
	}
	for _, t := range tables {
		if strings.HasPrefix(t.Name, tablePrefix) {
			names = append(names, t.Name)
		}
	}
	return names, nil
}

// otherTables reports whether another node on this machine has a table.
func otherTables(mine string) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("network: nftables: %w", err)
	}
	names, err := nodeTables(c)
	for _, name := range names {
		if name != mine {
			return true, nil
		}
	}
	return false, err
}

// removeAbandoned removes the tables of nodes that are no more: a node that lives has its gateway's address, and
// restores it. Such a table drops the packets to its subnet, which another node may have by now.
func (n *Network) removeAbandoned() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	names, err := nodeTables(c) // before the addresses: a node adds its address first
	if err != nil {
		return err
	}
	addrs, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("network: list addresses: %w", err)
	}
	alive := map[string]bool{n.gatewayLabel(): true}
	for _, a := range addrs {
		alive[a.Label] = true
	}
	for _, name := range names {
		hash := strings.TrimPrefix(name, tablePrefix)
		if len(hash) < hashInLink || alive[gatewayLabel(hash)] {
			continue
		}
		n.log.Warn("removing the firewall's table of a node that is no more", "table", name)
		deleteTables(c, hash)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("network: remove abandoned tables: %w", err)
	}
	return nil
}

// deleteTables adds the commands that delete the tables of the node whose name has the hash.
func deleteTables(c *nftables.Conn, hash string) {
	for _, name := range []string{tablePrefix + hash, egressPrefix + hash} {
		t := &nftables.Table{Family: nftables.TableFamilyINet, Name: name}
		c.AddTable(t) // deleting a missing table is an error
		c.DelTable(t)
	}
}

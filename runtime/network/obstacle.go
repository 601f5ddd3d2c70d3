package network

import (
	"fmt"

	"github.com/google/nftables"

	"github.com/protoduction/micro/cloud"
)

// Obstacle returns a *cloud.Error if another firewall of the host, such as Docker's or ufw's, drops forwarded packets by
// policy. Then containers can't reach other networks, and no rule of ours can change that, because a packet must pass
// all firewalls. The error names the chain, and its hint the commands that allow the packets.
func (n *Network) Obstacle() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return fmt.Errorf("network: list chains: %w", err)
	}
	docker := false
	for _, ch := range chains {
		docker = docker || ch.Name == "DOCKER-USER"
	}
	for _, ch := range chains {
		if ch.Table.Name == n.table || ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward ||
			ch.Policy == nil || *ch.Policy != nftables.ChainPolicyDrop ||
			ch.Table.Family != nftables.TableFamilyIPv4 && ch.Table.Family != nftables.TableFamilyINet {
			continue
		}
		chain := "FORWARD"
		if docker {
			chain = "DOCKER-USER"
		}
		return cloud.Errorf(cloud.Unavailable, "the host's firewall (table %s, chain %s) drops forwarded packets: containers can't reach other networks",
			ch.Table.Name, ch.Name).
			WithHint("iptables -I %s -i '%s+' -j ACCEPT; iptables -I %s -o '%s+' -j ACCEPT", chain, n.prefix, chain, n.prefix)
	}
	return nil
}

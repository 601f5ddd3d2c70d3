package network

import (
	"fmt"

	"github.com/google/nftables"

	"github.com/protoduction/micro/cloud"
)

// Obstacle looks for another firewall of the host, Docker's or ufw's say, that by policy drops what is
// forwarded: then containers reach nothing outside, and no rule of ours can change that, for a packet
// has to pass them all. It returns nil, or a *cloud.Error that names the chain and the way out.
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
		return cloud.Errorf(cloud.Unavailable, "the host's firewall (table %s, chain %s) drops what is forwarded: containers can't reach anything outside",
			ch.Table.Name, ch.Name).
			WithHint("iptables -I %s -i '%s+' -j ACCEPT; iptables -I %s -o '%s+' -j ACCEPT", chain, n.prefix, chain, n.prefix)
	}
	return nil
}

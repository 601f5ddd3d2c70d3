// Package hostdns configures this machine's resolver to ask a node for the names of a private domain, and
// removes that configuration again. The machine is the one that runs the command line, which need not be a
// node.
//
// The method depends on the program that resolves names here:
//
//   - systemd-resolved from version 258 on reads /etc/systemd/dns-delegate.d
//   - an older systemd-resolved gets a dummy network link, which a unit makes at each boot
//   - NetworkManager's dnsmasq reads /etc/NetworkManager/dnsmasq.d
//   - macOS reads /etc/resolver
//   - otherwise the node becomes the first name server in /etc/resolv.conf
//
// Planning a change only reads; it returns a list of steps. Only Apply changes anything, and if a step fails
// it undoes the steps before. There is no other state: each file that we write says for which domain and
// server it was made. So any version of micro can find what was installed. Uninstalling restores every byte:
// it removes our files and folders, and our lines from files of others.
package hostdns

// Package hostdns makes the resolver of this machine ask a node for the names of a private domain, and
// undoes that. The machine is the one that the command line runs on, which need not be the node's.
//
// How it is done depends on who resolves names here:
//
//   - systemd-resolved from 258 on reads /etc/systemd/dns-delegate.d
//   - an older systemd-resolved is told of a link of ours, a dummy one, which a unit makes at each boot
//   - NetworkManager's dnsmasq reads /etc/NetworkManager/dnsmasq.d
//   - macOS reads /etc/resolver
//   - else the node becomes the first name server of /etc/resolv.conf
//
// What is to be done is a list of steps, made by looking alone; only Apply changes anything, and takes back
// what it did where a step fails. Nothing is remembered elsewhere: each file of ours says for which domain
// and server it was made. So what was installed is found again by any version of micro, and uninstalling
// leaves every byte as it was: files and folders of ours are removed, and from files of others the lines of
// ours.
package hostdns

// Package packaging has the files by which a system runs micro as a service. It owns the systemd unit, of which there is
// one text: packages install it, and micro node add writes it on other machines.
package packaging

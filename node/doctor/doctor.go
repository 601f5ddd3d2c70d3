package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/hostdns"
	"github.com/protoduction/micro/node/datadir"
	"github.com/protoduction/micro/node/memory"
	"github.com/protoduction/micro/store/boltkv"
)

// Config has what the doctor checks.
type Config struct {
	Data   *datadir.Dir
	Domain cloud.Domain
	DNS    netip.AddrPort // address of the node's DNS server for users
	HTTP   uint16         // port of its router

	Subnet       netip.Prefix // of the containers
	Gateway      netip.Addr   // the node's address for containers
	GatewayTaken error        // why containers can't reach the router; nil if they can

	Runc   string                        // path of the program that starts containers
	Limits func() (by string, err error) // the mechanism that limits containers
	Quotas func() bool                   // whether the file system enforces disk quotas
	Loss   func() (boltkv.Loss, bool)    // damage with which the store was opened
	Views  interface{ View() cloud.View }

	SecureTaken error // why internal hosts are not answered by TLS; nil where they are
	// Certificates lists those of public hosts.
	Certificates func(context.Context) ([]api.Certificate, error)
	// Domains checks all public domains.
	Domains func(context.Context) []api.DomainCheck
}

// Doctor checks a node and its machine.
type Doctor struct{ Config }

// Examine runs all checks, one after the other.
func (d Doctor) Examine(ctx context.Context) []api.Check {
	checks := append([]api.Check{d.checkStore(), d.checkDisk(), checkDescriptors("/proc")}, d.checkNames(ctx)...)
	checks = append(checks, d.checkForwarding(), d.checkEscapes(ctx), d.checkLimits(), d.checkQuotas(), d.checkMemory(), d.checkApps(), d.checkBackups(time.Now()), d.checkCertificates(ctx))
	return append(checks, d.checkDomains(ctx)...)
}

func check(name string, status api.CheckStatus, hint, format string, args ...any) api.Check {
	return api.Check{Name: name, Status: status, Text: fmt.Sprintf(format, args...), Hint: hint}
}

// lossShown is how long damage of the store is reported. After that, users have noticed the lost change.
const lossShown = 30 * 24 * time.Hour

// StoreLoss returns a warning if the store may have lost a change within the last lossShown, otherwise "".
func (d Doctor) StoreLoss() string {
	loss, lost := d.Loss()
	if !lost || time.Since(loss.At) > lossShown {
		return ""
	}
	return fmt.Sprintf("one of the two heads of the store was damaged when micro started at %s: the change after revision %d may be lost, although it was acknowledged",
		loss.At.Format(time.DateTime+" MST"), loss.Rev)
}

func (d Doctor) checkStore() api.Check {
	if loss := d.StoreLoss(); loss != "" {
		return check("store", api.Warn, "compare what runs with your last changes (micro apps, micro releases APP), repeat what is missing, and check the disk", "%s", loss)
	}
	return check("store", api.OK, "", "the store was intact when micro started")
}

func (d Doctor) checkDisk() api.Check {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.Data.String(), &st); err != nil {
		return check("disk", api.Fail, "", "cannot inspect %s: %v", d.Data.String(), err)
	}
	free, percent := int64(st.Bavail)*st.Bsize, 100*st.Bavail/max(st.Blocks, 1)
	files := 100 * st.Ffree / max(st.Files, 1)
	probe := d.Data.Path(".doctor")
	err := os.WriteFile(probe, []byte("x"), 0o600)
	os.Remove(probe) // also where only its content found no room
	if err != nil {
		return check("disk", api.Fail, "micro df, micro prune", "cannot write to %s: %v", d.Data.String(), err)
	}
	status := api.OK
	if free < 2<<30 || percent < 5 {
		status = api.Warn
	}
	if st.Files > 0 && files < 5 { // some file systems don't count files
		return check("disk", api.Warn, "micro df, micro prune", "%d MB free on %s, but only %d more files can be created, %d %%", free>>20, d.Data, st.Ffree, files)
	}
	return check("disk", status, "micro df, micro prune", "%d MB free on %s, %d %%", free>>20, d.Data.String(), percent)
}

// checkNames follows a name as a browser on this machine does. It is only a warning if the machine's resolver does
// not ask the node, because names under localhost work nevertheless.
func (d Doctor) checkNames(ctx context.Context) (checks []api.Check) {
	for _, hop := range hostdns.Trace(ctx, hostdns.Target{Setup: hostdns.Setup{Domain: d.Domain, Server: d.DNS}, HTTP: d.HTTP}) {
		status := api.OK
		switch {
		case hop.OK:
			hop.Hint = ""
		case hop.Name == "resolver":
			status = api.Warn
		default:
			status = api.Fail
		}
		checks = append(checks, check(hop.Name, status, hop.Hint, "%s", hop.Text))
	}
	return checks
}

func (d Doctor) checkForwarding() api.Check {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil || strings.TrimSpace(string(b)) != "1" {
		return check("network", api.Fail, "sysctl -w net.ipv4.ip_forward=1", "the machine does not forward packets: apps can't reach other networks")
	}
	if d.GatewayTaken != nil {
		return check("network", api.Warn, "configure the other program to listen on specific addresses instead of all, and restart micro",
			"containers can't reach the router: %v", d.GatewayTaken)
	}
	return check("network", api.OK, "", "instances have %s, the node is %s", d.Subnet, d.Gateway)
}

func (d Doctor) checkLimits() api.Check {
	by, err := d.Limits()
	if err != nil {
		return check("limits", api.Fail, cloud.HintOf(err), "%v", err)
	}
	return check("limits", api.OK, "", "%s", by)
}

// checkQuotas reports how disk quotas are enforced. Both ways are fine.
func (d Doctor) checkQuotas() api.Check {
	if d.Quotas() {
		return check("quotas", api.OK, "", "the file system of %s enforces disk quotas", d.Data.String())
	}
	return check("quotas", api.OK, "", "micro measures disk quotas, and replaces instances that exceed them: the file system of %s does not use project quotas (ext4 and XFS have them, mounted with prjquota)", d.Data.String())
}

func (d Doctor) checkMemory() api.Check {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return check("memory", api.Warn, "", "cannot read the machine's memory: %v", err)
	}
	total := int64(info.Totalram) * int64(info.Unit)
	var limits int64
	state := d.Views.View().State
	for rel := range state.AllReleases() {
		if state.Runs(rel) {
			for _, s := range rel.Formation {
				limits += s.Memory * int64(s.Instances)
			}
		}
	}
	if limits > total {
		return check("memory", api.Warn, "micro scale APP -m SIZE", "apps may use %d MB, and the machine has %d MB", limits>>20, total>>20)
	}
	return check("memory", api.OK, "", "apps may use %d of %d MB, the node itself uses %d MB", limits>>20, total>>20, memory.Resident()>>20)
}

// domainsTime is how long doctor waits for what the world's resolvers answer.
const domainsTime = 6 * time.Second

// checkDomains names the first public domain whose questions do not reach the cloud, or whose CAA records forbid its
// certificates. It returns nothing where there is
// no public domain.
func (d Doctor) checkDomains(ctx context.Context) []api.Check {
	const name = "domains"
	if d.Domains == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, domainsTime)
	defer cancel()
	checks := d.Domains(ctx)
	for _, c := range checks {
		if c.OK {
			continue
		}
		text := "the world's questions about " + string(c.Name) + " do not reach this cloud"
		if r, ok := c.Missing(); ok {
			text += ": " + string(r.Name) + " " + r.Type + ": " + r.Text
		}
		return []api.Check{check(name, api.Warn, "micro domain check "+string(c.Name), "%s", text)}
	}
	for _, c := range checks {
		if r, ok := c.Forbidden(); ok {
			return []api.Check{check(name, api.Warn, r.Hint, "%s gets no certificate: %s", c.Name, r.Text)}
		}
	}
	if len(checks) == 0 {
		return nil
	}
	return []api.Check{check(name, api.OK, "", "the world's questions about all domains (%d) reach this cloud", len(checks))}
}

// checkCertificates names the first public host whose certificate is not as it should be.
func (d Doctor) checkCertificates(ctx context.Context) api.Check {
	const name = "certificates"
	if d.SecureTaken != nil {
		return check(name, api.Warn, cloud.HintOf(d.SecureTaken), "internal hosts are not answered by TLS: %v", d.SecureTaken)
	}
	list, err := d.Certificates(ctx)
	if err != nil {
		return check(name, api.Fail, cloud.HintOf(err), "%v", err)
	}
	for _, c := range list {
		if c.Status == api.OK {
			continue
		}
		text := c.Name + ": " + c.Text
		if c.Error != "" {
			text += ": " + c.Error
		}
		hint := "micro certs"
		if c.Hint != "" {
			hint = c.Hint + "; micro certs"
		}
		return check(name, api.Warn, hint, "%s", text)
	}
	if len(list) == 0 {
		return check(name, api.OK, "", "internal names have certificates of the cloud's own authority; no public host needs one")
	}
	return check(name, api.OK, "", "internal names have certificates of the cloud's own authority, and all public hosts (%d) have one", len(list))
}

func (d Doctor) checkApps() api.Check {
	view := d.Views.View()
	var down []string
	for app := range view.State.Apps("") {
		rel, ok := view.State.Release(app.Release(0))
		if !ok || !view.State.Runs(rel) || rel.Formation["web"].Instances == 0 {
			continue
		}
		if len(view.Pool(rel.ReleaseRef)) == 0 {
			down = append(down, rel.ReleaseRef.String())
		}
	}
	if len(down) > 0 {
		return check("apps", api.Fail, "micro ps "+down[0][:strings.IndexByte(down[0], '@')], "no ready instance: %s", strings.Join(down, ", "))
	}
	return check("apps", api.OK, "", "every app that should run has a ready instance")
}

package node

import (
	"context"
	"io"
	"sync"

	"github.com/protoduction/micro/access"
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/node/doctor"
	"github.com/protoduction/micro/node/figures"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/node/metrics"
	"github.com/protoduction/micro/node/trace"
	"github.com/protoduction/micro/node/webhook"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/services"
	"github.com/protoduction/micro/volumes"
)

// socketFile is the API's socket in the data folder.
const socketFile = "micro.sock"

// openServices creates the programs that use the parts, and binds the API's socket.
func (n *Node) openServices(ctx context.Context) (err error) {
	writer := apiStore{n.store, n.snapshots, n.published, n.reserve, n.writable, n.now}
	run := commands{n, n.driver, n.agent}
	if err := n.openBackups(); err != nil {
		return err
	}
	n.services = n.provider(writer, run)
	n.volumeWorks = &volumes.Provider{
		Store: writer, Views: n.snapshots, Archives: n.archives, Nodes: volumeNodes{n}, Folders: n.volumes,
		Node: n.cfg.Name, Process: n.services.Process, Log: n.log, Now: n.now,
	}
	crossfades, retention := n.openLeader()
	n.deployer, err = deploy.New(deploy.Config{
		Store: writer, Views: n.published, Images: imageStore{n.images, n.copies}, Builder: namingBuilder{n.builder, n.copies}, Unpack: n.unpack, Limits: n.uploadLimits(), Dir: n.data.Path("uploads"),
		Domain: n.cfg.Domain, URLs: n.addresses.URLs, Everywhere: n.everywhere, Log: n.log, Now: n.now,
	})
	if err != nil {
		return err
	}
	n.janitor = janitor.New(janitor.Config{
		Views: n.snapshots, Store: n.store, Images: n.images, Logs: n.logs, LogDir: n.data.Path("logs"), Volumes: n.volumes,
		Held: n.deployer.HeldImages, Log: n.log,
	})
	n.figures = figures.New(figures.Config{
		Totals: n.totals, Router: n.router, Views: n.snapshots, Usage: run, Judge: crossfades, Others: peerFigures{n},
	})
	if err := n.bindAPI(ctx); err != nil {
		return err
	}
	n.status = n.newStatus()
	n.status.setWaiting("starting")
	callers := access.New(writer, n.keys, n.now)
	n.portal = n.newPortal(callers)
	n.api, err = handler.New(handler.Config{
		Store: writer, Views: n.published,
		Pushes: n.deployer, Transfers: n.deployer, Rollouts: n.deployer, BuildLogs: n.deployer,
		Commands: run, Usage: run, Requests: n.figures, Images: imageStore{n.images, n.copies}, Logs: cloudLogs{n, logReader{n.logs}}, Events: n.events,
		Inspector: trace.Tracer{DNS: n.dns, Router: n.router, Addresses: n.addresses}, Compare: n.figures, Certificates: certificateList{n.local, n.files, n.ledger, n.orders()},
		Delegations: delegations{n}, Webhooks: webhooks{n.poster, notes{n}}, Cluster: clusterControl{n, new(sync.Mutex)},
		Services: n.services, Backups: n.services, VolumeWorks: n.volumeWorks, Routers: routers{n}, CloudKey: cloudKey{n},
		Passes: passes{n.secret}, Links: links{n.secret, n.addresses}, Volumes: volumesOfAll{n}, Passwords: callers.Passwords, Callers: callers, Provided: provided{callers}, Audit: auditLog{n.store}, Status: n.status, Profiles: profiles{n},
		Metrics: metrics.New(metrics.Config{
			Version: n.cfg.Version.Version, Figures: n.counted, Router: n.router, Queries: &n.queries, Views: n.snapshots,
		}),
		Disk: diskSpace{n.cfg.Data, n.images, n.store, n.deployer, retention, n.janitor, n.builder, n.reserve}, Down: n.Down,
		Domain: n.cfg.Domain, URLs: n.addresses.URLs, PublicURLs: n.addresses.PublicURLs, Ports: n.ports, Version: n.cfg.Version, AdminGroup: n.cfg.AdminGroup, AdminRole: n.cfg.AdminRole, Log: n.log, Now: n.now,
	})
	if err != nil {
		return err
	}
	n.servePeers()
	n.socket, err = addresses.ListenUnix(n.data.Path(socketFile), n.cfg.AdminGroup)
	if err == nil {
		n.onRelease(func() { n.socket.Close() })
	}
	return err
}

// openLeader creates the duties that only one node of a cloud may have.
func (n *Node) openLeader() (*leader.Crossfades, *leader.Retention) {
	write := leaderWriter{n.store, n.snapshots, n.reserve, n.now}
	crossfades := leader.NewCrossfades(leader.CrossfadeConfig{
		Views: n.snapshots, Writer: write, Counts: counts{n.totals}, Usages: usage{commands{n, n.driver, n.agent}}, Notes: notes{n}, Events: eventNotes{n.events}, Log: n.log, Warm: leader.DefaultWarm, Now: n.now,
	})
	retention := &leader.Retention{Views: n.snapshots, Writer: write, Log: n.log}
	n.duties = []leader.Duty{
		&leader.Places{Views: n.snapshots, Writer: write, Log: n.log, Now: n.now},
		retention,
		&leader.Backups{Store: n.db, Log: n.log},
		&leader.Rollouts{Views: n.snapshots, Writer: write, Logs: cloudLogs{n, logReader{n.logs}}, Log: n.log, Warm: leader.DefaultWarm, Now: n.now},
		crossfades,
		leader.NewCron(leader.CronConfig{
			Views: n.snapshots, Notes: notes{n}, Jobs: jobs{n}, Events: eventNotes{n.events}, Log: n.log, Now: n.now,
		}),
	}
	n.poster = webhook.NewPoster(n.cfg.Version.Version, network.CheckOutside)
	n.duties = append(n.duties, leader.NewWebhooks(leader.WebhookConfig{Views: n.snapshots, Notes: notes{n}, Poster: n.poster, Log: n.log, Now: n.now}))
	n.duties = append(n.duties, n.certificateDuty()...)
	n.duties = append(n.duties, copyDuty{n, write})
	n.duties = append(n.duties, &services.Purge{Views: n.snapshots, Writer: write, Volumes: volumesOfAll{n}, Log: n.log, Now: n.now})
	n.duties = append(n.duties, &services.Accounts{Views: n.snapshots, Writer: write, Commands: serviceCommands{commands{n, n.driver, n.agent}}, HTTP: n.services.HTTP, Log: n.log, Now: n.now})
	n.duties = append(n.duties, &services.Brokers{Views: n.snapshots, Writer: write, HTTP: n.services.HTTP, Events: n.events, Log: n.log, Now: n.now})
	n.duties = append(n.duties, &volumes.Abandoned{Views: n.snapshots, Writer: write, Log: n.log})
	n.duties = append(n.duties, &services.Schedules{Views: n.snapshots, Provider: n.services, Events: n.events, Log: n.log, Now: n.now})
	return crossfades, retention
}

func (n *Node) newStatus() *status {
	return &status{
		publicDNS: n.publicAddrs(),
		cfg:       n.cfg, started: n.started, addresses: n.addresses, net: n.net, snapshots: n.snapshots,
		api: n.remoteURLs, fingerprint: n.fingerprint,
		doctor: doctor.Doctor{Config: doctor.Config{
			Data: n.data, Domain: n.cfg.Domain, DNS: n.cfg.DNS[0], HTTP: n.addresses.Internal[0].Port(), Subnet: n.net.Subnet(), Gateway: n.net.Gateway(),
			GatewayTaken: n.addresses.GatewayTaken, Runc: n.shims.Runc(), Limits: n.driver.Limits, Quotas: n.driver.KeepsDiskLimits, Loss: n.db.Loss, Views: n.snapshots,
			SecureTaken: n.addresses.SecureTaken, Certificates: func(ctx context.Context) ([]api.Certificate, error) { return n.api.AllCertificates(ctx) },
			Domains: delegations{n}.CheckAll,
		}},
	}
}

// unpack unpacks an uploaded folder.
func (n *Node) unpack(r io.Reader, dir string) ([]source.Entry, error) {
	return source.Unpack(context.Background(), r, dir, n.uploadLimits())
}

func (n *Node) uploadLimits() source.Limits {
	return source.Limits{Bytes: n.cfg.Limits.Upload, Entries: n.cfg.Limits.Files}
}

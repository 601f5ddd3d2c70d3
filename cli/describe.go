package cli

// description is what a command's help says beyond its one line.
func description(name string) string {
	switch name {
	case "up":
		return `The node runs until Ctrl-C or SIGTERM; its apps run on without it, and the next micro up finds
them. A setting is a flag, else MICRO_SETTING (MICRO_PUBLIC_HTTP, several values with commas), else
a line of /etc/micro/micro.yml. Addresses and subnet that the node chose itself stay the same.

  sudo ./micro up --upgrade    install this program in the place of the running node's, which it replaces
                               at once: apps run on, and who connects meanwhile waits`
	case "node add":
		return `ssh must log in as root without a question. The program of this command is installed there, a token is
made, and the node starts and joins: as a service where systemd runs, else by micro up --detach. A step
that fails is named, and what was done before it is taken back. Other settings of the node are in
/etc/micro/micro.yml there, which may be written before.

  micro node add ssh://root@10.0.0.12 --name n2`
	case "cluster upgrade":
		return `Install the new program on every machine first, in the place of the old one: this command only has it
started. One node at a time goes, the one that leads last; each gives up the lead, finishes its
requests, and starts the new program in its own process, so that apps run on and who connects
meanwhile waits. A node that does not come back stops the rest.`
	case "parity":
		return `TARGET is a name of micro target list, or a URL. Programs, kernels, cgroups, helpers, limits,
settings, base images, kinds of services and the timeouts of routes are compared, node by node. Exit
code 0 says that the two clouds are equal in all but scale; 1 that lines differ, which are shown with
both values. How many nodes, apps and instances there are, and how large machines are, is scale; the
domain and the subnet are each cloud's own.

  micro parity prod
  micro parity ssh://root@qa.example.com --all`
	case "down":
		return `Containers, networks, firewall rules and mounts go, the data folder stays: the next micro up runs
again what ran.`
	case "push":
		return `PATH is a folder with a Dockerfile (default .); micro.yml, manifest.yml, Procfile and app.json in it
are read. What is not said comes from the app's current release. The old release serves until the
new one is ready, and if that never comes up nothing changes (exit code 7).

  micro push shop -e LOG_LEVEL=debug    build folder shop
  micro push --app db --image redis:8   run an image of a registry
  micro push --app db --image db.tar    run an image of an archive
  micro push --stage                    run at an address of its own, not yet current

Ctrl-C asks whether to cancel the push, and a second one cancels it. Without a terminal the first one
does. --detach leaves the push to the node; --attach follows it, --cancel ends it, both by its ID or
the beginning of it (micro pushes).`
	case "pushes":
		return `A push goes on when the command that began it has gone.

  micro push --attach 4f7kx    follow it to its end
  micro push --cancel 4f7kx    cancel it: the app is as it was`
	case "ps":
		return `Those of all apps, of an app, or of one release. What serves comes first: the current release, those
that routes name, those that start or are staged. Others, such as releases kept warm, need --all.

  micro ps shop --process worker
  micro ps --state crashed,flapping`
	case "stats":
		return `Those of all apps, of an app, or of one release, chosen as by micro ps. RATE and the columns with 1M
are of the last minute, the others count from the node's start. A terminal that is too narrow for all
columns shows those that matter most.`
	case "compare":
		return `RATE and the columns with 1M are of the last minute, the others count from the node's start. A
terminal that is too narrow for all columns shows those that matter most.`
	case "logs":
		return `Lines of the streams app (what instances print), router (requests), build and api.`
	case "scale":
		return `Memory or CPU replaces the instances batch by batch; their number or disk replaces none. It is no
new release: the formation belongs to its release, and comes back with it. Without @rN a release that
is about to take over is scaled too.

  micro scale shop -i 4 -m 256M
  micro scale shop worker=2 web=4`
	case "apps":
		return `An app can be made before its first push, to set its environment or to map hosts to it:

  micro apps create shop
  micro env shop DATABASE_URL=postgres://db.internal/shop
  micro push --app shop`
	case "env":
		return `An app that has no current release yet keeps the change for its first one.

  micro env shop                    show it
  micro env shop COLOUR=blue DEBUG-   set COLOUR, unset DEBUG`
	case "secret":
		return `A secret is a variable of the environment whose value micro env does not show.
The value comes from standard input, from a file or from what you type, never from
an argument, which other users of this machine could read. An app that has no
current release yet keeps it for its first one.

  micro secret set shop DB_PASSWORD < password.txt
  pwgen 32 1 | micro secret set shop SESSION_KEY
  micro secret show shop DB_PASSWORD`
	case "exec":
		return `Its exit code is micro's.

  micro exec shop -- ls -l /app
  micro exec shop -it --instance 1 -- sh`
	case "run":
		return `The container has the release's image, environment, limits and volumes, and is gone afterwards.
The command's exit code is micro's.`
	case "promote":
		return `The release is first scaled to at least what the current one has.`
	case "rollback":
		return `No new release is made. One that was current within the last 10 minutes runs still, so that the way
back to it is at once; another is started first.`
	case "map":
		return `Without @rN the host follows the app's current release. A host belongs to the group that mapped it
first. It answers on the internal listeners alone, unless it is --public.

  micro map shop www.example.com --public
  micro map shop@r7 www.example.com/beta
  micro map shop@r8 www.example.com --weight 5`
	case "webhook add":
		return `Kinds are failed, approved, rejected, crossfade-started, crossfade-finished and crossfade-aborted.

  micro webhook add https://chat.example.com/hooks/TOKEN
  micro webhook add https://pager.example.com/x --on crossfade-aborted --on failed`
	case "domain add":
		return `A certificate authority finds out by DNS whose a domain is, and this cloud's DNS server answers it. So
there are certificates of wildcards and of hosts that the authority cannot reach, without a key of any
DNS provider. The node that answers needs --public-dns.

  micro domain add example.com
  micro domain check example.com
  micro map shop '*.example.com' --public

With --via nothing more than a CNAME is to be set:

  micro domain add example.org --via example.com`
	case "limits":
		return `Without HOST they are those of routes that do not set their own, and of connections. The value default
takes a limit back. What a limit means is in docs/networking.md.

  micro limits                                  show the cloud's
  micro limits header-timeout=5s                set one
  micro limits www.example.com                  show a route's
  micro limits www.example.com/api max-body=2G answer-timeout=default`
	case "unmap":
		return `A host without targets answers 503 until it is mapped again or given up with --release-host.`
	case "traffic":
		return `Weights are relative, and replace all targets that the route had.

  micro traffic www.example.com shop@r7=95 shop@r8=5
  micro traffic www.example.com --mirror shop@r8=10%
  micro traffic www.example.com --when 'header X-Beta: 1' shop@r8

A mirror gets copies of GET and HEAD requests that have been answered, marked X-Micro-Mirror: 1. Its
answers reach nobody; micro compare shows how many differ from those that users got.`
	case "crossfade":
		return `At each step the new release gets a share of the requests, and both are compared. A release that is
worse than the one before, by more than the margins, is taken out again; too little traffic to tell
is waited for. Ctrl-C leaves the cross-fade to the node.

  micro crossfade www.example.com --to shop@r8
  micro crossfade www.example.com --to shop@r8 --over 1h --steps 5,50,100
  micro crossfade abort www.example.com`
	case "explain":
		return `A request passes six hops: name (it resolves to this node), listener, host and path (they are routed),
release (it runs), instance (it is ready). The first hop that blocks the request is named, with what to
try next. Nothing is sent. Exit code 0: an app would answer; 6: a hop blocks the request; 2: no URL.

  micro explain http://www.example.com/api
  micro explain www.example.com --from 192.0.2.7
  micro explain www.example.com --assume-dns      before its DNS has been changed`
	case "prune":
		return `Images go that no release can be rolled back to, and what builds keep for speed.`
	case "image load":
		return `An archive as docker save or OCI tools write it.`
	case "completion":
		return `  source <(micro completion bash)
  micro completion fish > ~/.config/fish/completions/micro.fish`
	}
	return ""
}

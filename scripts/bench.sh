#!/bin/sh
# Runs all measurements, prints the tables and writes them to docs/figures.md. Takes about a quarter of an hour.
set -eu
export PATH="$PATH:/usr/sbin:/sbin" # knotd
cd "$(dirname "$0")/.."

as_root=''
[ "$(id -u)" = 0 ] || as_root="sudo -E env PATH=$PATH"
mkdir -p bin docs
go build -o bin/bench-node ./bench/node
go build -o bin/bench-router ./bench/router
go build -o bin/bench-routes ./bench/routes
go build -o bin/bench-dns ./bench/dns
go build -o bin/bench-places ./bench/places
CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/bench-nodes ./bench/nodes

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
memory=$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
load=$(cut -d ' ' -f 1-3 /proc/loadavg)
figures=docs/figures.md.new table=bin/bench.out
trap 'rm -f $figures $table' EXIT
{
	printf '# Figures\n\nMade by `make bench`. Compare figures of one run only: they depend on the machine and its load.\n\n'
	printf '%s, micro %s, %s CPUs (%s), %s GiB, Linux %s, load before: %s\n\n' "$(date -u +%F)" \
		"$(git describe --tags --always --dirty)" "$(nproc)" "$cpu" "$memory" "$(uname -r)" "$load"
	printf '## A node\n\n| what | measured | bar | |\n|---|---|---|---|\n'
} >$figures
$as_root bin/bench-node >$table
sed 's/^/| /; s/|/ | /2g; s/$/ |/' $table | tee -a $figures
printf '\n## Many routes\n\n```\n' >>$figures
bin/bench-routes >$table
tee -a $figures <$table
printf '```\n\nA small request, one at a time; its lookup and its recording, on all CPUs:\n\n```\n' >>$figures
go test ./router ./traffic -run '^$' -bench 'LookupAndPick|Record|Proxy$|Judgement' | grep '^Bench' >$table
tee -a $figures <$table
printf '```\n' >>$figures
printf '\n## A large cloud\n\nCPU time and memory of all decisions in a simulated cloud: for the whole cloud, and for one change. Then one change among few apps and among many.\n\n```\n' >>$figures
bin/bench-places >$table
tee -a $figures <$table
echo >>$figures
go test ./leader ./runtime -run '^$' -bench 'OneOf|Plan' | grep '^Bench' >$table
tee -a $figures <$table
printf '```\n' >>$figures
printf '\n## A second node\n\nThe CPU time of the router for a small request to an instance on its own node and on another one, and a large body that passes through it. Both nodes and the app share the CPUs of one machine.\n\n```\n' >>$figures
$as_root bin/bench-nodes >$table
tee -a $figures <$table
printf '```\n' >>$figures
printf '\n## The router beside HAProxy and nginx\n\nIn the same run.\n\n```\n' >>$figures
$as_root bin/bench-router >$table
tee -a $figures <$table
printf '```\n' >>$figures
printf '\n## The DNS server beside Knot\n\nCPU time per answer, in the same run.\n\n```\n' >>$figures
bin/bench-dns >$table
tee -a $figures <$table
printf '```\n\nLoad after: %s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)" >>$figures
mv $figures docs/figures.md

#!/bin/sh
# Starts a node, pushes a sample app from its source folder, and fetches its page by name through the node's
# DNS server and router. Leaves node and app running; if run again, it pushes a new release.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

as_root=''
[ "$(id -u)" = 0 ] || as_root='sudo -E'
micro() { $as_root bin/micro "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR-}" ] || say() { printf '\n%s\n' "$*"; }

say '1. A base image, made from Debian packages: no registry is needed.'
image=$(go run ./testdata/debimage/cmd/debimage python)
echo "$image"

if micro apps >/dev/null 2>&1; then
	say '2. The node already runs.'
else
	say '2. Start a node: micro up --detach'
	micro up --detach
fi

say '3. Load the base image into the node: micro image load'
micro image load "$image"

say '4. Push an app from its source folder: micro push testdata/apps/shop --app shop'
micro push testdata/apps/shop --app shop

# Ask the node for its addresses: it uses other ports if 80 and 53 are in use.
node=$($as_root curl -fsS --unix-socket "${MICRO_DATA:-/var/lib/micro}/micro.sock" http://micro/v1/node)
first() { printf '%s' "$node" | sed -n "s/.*\"$1\":\[\"\([^\"]*\)\".*/\1/p"; }
http=$(first http) dns=$(first dns)
port=${http##*:}
suffix=":$port"
[ "$port" != 80 ] || suffix=''

say "5. Resolve its name with the node's DNS server: dig @${dns%:*} -p ${dns##*:} shop.micro.test"
address=$(dig +short "@${dns%:*}" -p "${dns##*:}" shop.micro.test)
echo "$address"

say "6. Fetch its page from the node's router: curl http://shop.micro.test$suffix/"
curl -fsS --noproxy '*' --resolve "shop.micro.test:$port:$address" "http://shop.micro.test$suffix/api/goods"
echo
curl -fsS --noproxy '*' -o /dev/null -w "http://shop.localhost$suffix/ answers %{http_code} in %{time_total} s\n" \
	"http://shop.localhost$suffix/"

sudo=${as_root:+sudo }
say "Open http://shop.localhost$suffix/ in a browser: no set-up is needed."
cat <<EOF

What to try next:
  ${sudo}bin/micro ps shop             list its instances: node, process, address, phase
  ${sudo}bin/micro scale shop -i 4     run four instances
  ${sudo}bin/micro logs shop -f        follow their output
  ${sudo}bin/micro exec shop -- id     run a command in an instance
  ${sudo}bin/micro releases shop       list its releases, one per push, each with its own address

To stop: ${sudo}bin/micro down
EOF

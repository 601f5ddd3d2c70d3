#!/bin/sh
# Starts a node, pushes a sample app from its source folder, and fetches it by name through the node's
# own DNS server and router. Leaves both running; run again it finds them so and pushes a new release.
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

as_root=''
[ "$(id -u)" = 0 ] || as_root='sudo -E'
micro() { $as_root bin/micro "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR-}" ] || say() { printf '\n%s\n' "$*"; }

say '1. A base image, made of Debian packages: there is no registry in this.'
image=$(go run ./testdata/debimage/cmd/debimage python)
echo "$image"

if micro apps >/dev/null 2>&1; then
	say '2. The node runs already.'
else
	say '2. A node: micro up --detach'
	micro up --detach
fi

say '3. The base image into the node: micro image load'
micro image load "$image"

say '4. An app from its source folder: micro push testdata/apps/shop --app shop'
micro push testdata/apps/shop --app shop

# The node says where it listens: it takes other ports where 80 and 53 are taken.
node=$($as_root curl -fsS --unix-socket "${MICRO_DATA:-/var/lib/micro}/micro.sock" http://micro/v1/node)
first() { printf '%s' "$node" | sed -n "s/.*\"$1\":\[\"\([^\"]*\)\".*/\1/p"; }
http=$(first http) dns=$(first dns)
port=${http##*:}
suffix=":$port"
[ "$port" != 80 ] || suffix=''

say "5. Its name, from the node's DNS server: dig @${dns%:*} -p ${dns##*:} shop.micro.test"
address=$(dig +short "@${dns%:*}" -p "${dns##*:}" shop.micro.test)
echo "$address"

say "6. Its page, from the node's router: curl http://shop.micro.test$suffix/"
curl -fsS --noproxy '*' --resolve "shop.micro.test:$port:$address" "http://shop.micro.test$suffix/api/goods"
echo
curl -fsS --noproxy '*' -o /dev/null -w "http://shop.localhost$suffix/ answers %{http_code} in %{time_total} s\n" \
	"http://shop.localhost$suffix/"

sudo=${as_root:+sudo }
say "Open http://shop.localhost$suffix/ in a browser: it needs no set-up."
cat <<EOF

What to try next:
  ${sudo}bin/micro ps shop             its instances: node, process, address, phase
  ${sudo}bin/micro scale shop -i 4     more of them
  ${sudo}bin/micro logs shop -f        what they print
  ${sudo}bin/micro exec shop -- id     a look inside one
  ${sudo}bin/micro releases shop       every push is one; each has an address of its own

To stop: ${sudo}bin/micro down
EOF

#!/bin/sh
# Installs the missing packages that GROUP needs with apt-get, and prints their names. Does nothing if none is
# missing. Groups: build, demo, test, bench.
set -eu

wanted='' services=''
want() { # want PACKAGE: adds a missing package
	case " $wanted " in *" $1 "*) ;; *) wanted="$wanted $1" ;; esac
}
service_of() { # service_of COMMAND PACKAGE: like command_of, for a package whose service must not be started
	command -v "$1" >/dev/null && return
	want "$2"
	services="$services $2.service"
}
command_of() { # command_of COMMAND PACKAGE: adds the package if the command is missing
	command -v "$1" >/dev/null || want "$2"
}

PATH=$PATH:/usr/sbin:/sbin
for group in "$@"; do
	case $group in
	build)
		command_of gcc gcc
		command_of zstd zstd
		[ -e /usr/include/stdio.h ] || want libc6-dev
		[ -e /usr/include/seccomp.h ] || want libseccomp-dev
		;;
	demo)
		command_of curl curl
		command_of dig bind9-dnsutils
		command_of dpkg-deb dpkg
		;;
	test)
		command_of curl curl
		command_of dig bind9-dnsutils
		command_of jq jq
		command_of mkfs.ext4 e2fsprogs
		command_of zsh zsh
		command_of fish fish
		command_of node nodejs
		# Ubuntu has it as a snap alone, which nobody installs for others.
		apt-cache show chromium-headless-shell >/dev/null 2>&1 && command_of chromium-headless-shell chromium-headless-shell
		command_of ps procps
		command_of ip iproute2
		command_of systemd-analyze systemd
		command_of setpriv util-linux
		command_of ssh openssh-client
		command_of openssl openssl
		command_of certutil libnss3-tools
		command_of update-ca-certificates ca-certificates
		command_of python3 python3
		command_of keytool default-jre-headless
		service_of promtool prometheus
		service_of unbound unbound
		command_of dnsmasq dnsmasq-base
		command_of busybox busybox
		command_of musl-gcc musl-tools
		;;
	bench)
		service_of haproxy haproxy
		service_of nginx nginx
		command_of wrk wrk
		service_of knotd knot
		command_of dnsperf dnsperf
		command_of dig bind9-dnsutils
		;;
	*)
		echo "deps.sh: unknown group $group (use build, demo, test or bench)" >&2
		exit 2
		;;
	esac
done

if ! command -v go >/dev/null; then
	echo "deps.sh: go is not in PATH; micro needs Go $(sed -n 's/^go //p' go.mod) or newer (https://go.dev/dl/)" >&2
	exit 1
fi
[ -n "$wanted" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps.sh: missing:$wanted (Debian package names), and there is no apt-get to install them" >&2
	exit 1
fi
as_root=''
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps.sh: missing:$wanted; run as root: apt-get install$wanted" >&2
		exit 1
	fi
	as_root=sudo
fi

install() {
	# shellcheck disable=SC2086  # a list of packages
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $wanted >/dev/null
}
# Debian starts the services that it installs. Prevent that, because they would take ports 53 and 80.
if [ -n "$services" ] && [ -d /run/systemd/system ]; then
	# shellcheck disable=SC2086  # a list of units
	$as_root systemctl mask --quiet --runtime $services
	# shellcheck disable=SC2086
	trap '$as_root systemctl unmask --quiet --runtime $services; $as_root systemctl disable --quiet $services || true' EXIT
fi
echo "installing with apt-get:$wanted" >&2
# Try again after an update: the package lists may be missing or outdated.
install 2>/dev/null || { $as_root apt-get update -qq && install; }

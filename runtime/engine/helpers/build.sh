#!/bin/sh
# Builds the three programs that a release of micro has on board, runc, the shim and the containers' init, into
# bin/ next to this script. Needs Go, gcc, zstd and libseccomp's headers (apt install gcc zstd libseccomp-dev). Does nothing
# where all are newer than what they are made of.
set -eu
cd "$(dirname "$0")"
mkdir -p bin
root=$(go list -m -f '{{.Dir}}')

fresh() { # fresh FILE SOURCE...: FILE is there and newer than every SOURCE
	file=$1; shift
	[ -x "$file" ] && [ -z "$(find "$@" -newer "$file" -print -quit)" ]
}

if ! fresh bin/runc "$root/go.mod" build.sh; then
	# Without the seccomp tag runc would refuse every container that has a profile, and all of ours do.
	CGO_ENABLED=1 go build -trimpath -tags seccomp,netgo,osusergo \
		-ldflags='-s -w -linkmode external -extldflags "-static"' -o bin/runc.new github.com/opencontainers/runc
	mv bin/runc.new bin/runc
fi
shim=bin/containerd-shim-micro-v2
if ! fresh $shim "$root/go.mod" ../shim ../../overlay build.sh; then
	CGO_ENABLED=0 go build -trimpath -tags no_grpc -ldflags='-s -w' -o $shim.new ../shim/cmd
	mv $shim.new $shim
fi
if ! fresh $shim.zst $shim; then
	zstd -q -19 -f $shim -o $shim.zst.new
	chmod +x $shim.zst.new # fresh looks for that
	mv $shim.zst.new $shim.zst
fi
init=bin/micro-init
if ! fresh $init init build.sh; then
	# It stands on no library, and the compiler must not think that there is one.
	gcc -std=gnu11 -Wall -Wextra -Werror -Os -ffreestanding -fno-builtin -fno-stack-protector -fno-pie \
		-fno-asynchronous-unwind-tables -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,norelro,-s \
		-o $init.new init/init.c
	mv $init.new $init
fi
# What a release compares with, instead of having them in memory at each start.
(cd bin && sha256sum runc containerd-shim-micro-v2 micro-init >sums.new && mv sums.new sums)
# A micro without helpers on board finds them with PATH=$PWD/bin:$PATH

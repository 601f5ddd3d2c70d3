#!/bin/sh
# Tests disk quotas on ext4 and XFS in User-mode Linux, because many kernels have no project quotas. Needs root, and
# Debian packages, which it unpacks without installing them.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(
	cd "$work"
	apt-get download -qq user-mode-linux busybox-static xfsprogs libinih1 liburcu8 libedit2 2>/dev/null
	for package in *.deb; do dpkg-deb -x "$package" .; done
	truncate -s 64M ext4
	/sbin/mkfs.ext4 -q -O quota,project -E quotatype=prjquota ext4
	truncate -s 320M xfs
	LD_LIBRARY_PATH=$(echo lib/*-linux-gnu usr/lib/*-linux-gnu | tr ' ' :) sbin/mkfs.xfs -q xfs
)
CGO_ENABLED=0 go test -c -o "$work/disk.test" ./runtime/disk

cat >"$work/init" <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t tmpfs none /mnt
modules=$work/usr/lib/uml/modules/\$(uname -r)/kernel/fs/quota
for module in quota_tree quota_v2; do $work/bin/busybox insmod \$modules/\$module.ko; done
mkdir /mnt/a /mnt/b
mount -t ext4 -o prjquota /dev/ubda /mnt/a
mount -t xfs -o prjquota /dev/ubdb /mnt/b
for disk in a b; do
	MICRO_TEST_PROJECTS=/mnt/\$disk $work/disk.test -test.run TestProjects -test.v && touch $work/\$disk.passed
done
umount /mnt/a /mnt/b
halt -f
END
chmod +x "$work/init"
timeout 300 "$work/usr/bin/linux.uml" mem=256M root=/dev/root rootfstype=hostfs rootflags=/ rw init="$work/init" \
	ubd0="$work/ext4" ubd1="$work/xfs" con=null con0=fd:0,fd:1 quiet </dev/null
[ -e "$work/a.passed" ] && [ -e "$work/b.passed" ]

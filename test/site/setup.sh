#!/bin/sh
# Enters a site's root file system: an overlay, so that all it writes is private,
# with the machine's /dev, /proc, /sys and /tmp, for there is only one ZFS. Runs in
# the site's new namespaces, after Go has laid out DIR/upper and DIR/run.
#
# usage: setup.sh DIR HOSTNAME [CLUSTERDIR]
set -eu
dir=$1 hostname=$2 cluster=${3-}
root=$dir/root

mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" site "$root"
mount --bind "$dir/run" "$root/run"
# udev, systemd and its bus belong to the machine.
for shared in /dev /proc /sys /tmp /job /out /run/udev /run/systemd /run/dbus; do
	[ ! -d "$shared" ] || mount --rbind "$shared" "$root$shared"
done
if [ -n "$cluster" ]; then
	# All nodes of a cluster see the same; only "local" differs.
	mount --bind "$cluster/nodes" "$root/etc/pve/nodes"
	mount --bind "$cluster/ha" "$root/etc/pve/ha"
fi

hostname "$hostname"
ip link set lo up

cd "$root"
pivot_root . mnt
umount -l /mnt

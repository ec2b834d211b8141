#!/bin/sh
# Sets up and enters a site's root file system. The root file system is an overlay, so all changes
# of files are private to the site. /dev, /proc, /sys and /tmp are the machine's, because there is
# only one ZFS. The script runs in the site's new namespaces, after Go has filled DIR/upper and
# DIR/run.
#
# usage: setup.sh DIR HOSTNAME [CLUSTERDIR]
set -eu
dir=$1 hostname=$2 cluster=${3-}
root=$dir/root

mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" site "$root"
mount --bind "$dir/run" "$root/run"
# udev, systemd and the D-Bus belong to the machine.
for shared in /dev /proc /sys /tmp /job /out /run/udev /run/systemd /run/dbus; do
	[ ! -d "$shared" ] || mount --rbind "$shared" "$root$shared"
done
if [ -n "$cluster" ]; then
	# All nodes of a cluster see the same files in /etc/pve; only "local" differs.
	mount --bind "$cluster/nodes" "$root/etc/pve/nodes"
	mount --bind "$cluster/ha" "$root/etc/pve/ha"
fi

hostname "$hostname"
ip link set lo up

cd "$root"
pivot_root . mnt
umount -l /mnt

#!/bin/sh
# Runs qemu-ga as inside a guest whose only disk is DEVICE. The agent gets a root file system in
# memory that holds only the agent's own files, so that a freeze affects no other file system. The
# disk's ext4 is mounted on /mnt there.
#
# usage: agent.sh VMID DEVICE
set -eu
root=/run/agent-$1 device=$2
mkdir "$root"
mount -t tmpfs guest "$root"
cd "$root"
mkdir -p proc dev run sock mnt old
for program in /usr/sbin/qemu-ga /usr/bin/umount; do
	for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
		mkdir -p ".${file%/*}"
		cp -L "$file" ".$file"
	done
done
mount -t proc proc proc
mount -t devtmpfs dev dev
mount --bind /run/qemu-server sock
mount -t ext4 "$device" mnt
pivot_root . old
cd /
umount -l /old
exec /usr/sbin/qemu-ga -m unix-listen -p "/sock/$1.qga" -t /run

package pve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseConfig(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Config
	}{
		{"empty", "", Config{}},
		{"description", "#scsi0: data:vm-9-disk-0\n#lock: backup\nname: web\n", Config{Name: "web"}},
		{"the name of a snapshot's part is the past", "[before]\nname: old\n", Config{Snapshots: []string{"before"}}},
		{"lock", "lock: rollback\n", Config{Lock: "rollback"}},
		{"template", "template: 1\n", Config{Template: true}},
		{"no template", "template: 0\n", Config{}},
		{"disks", "scsi0: data:vm-1-disk-0,size=8G,ssd=1\nvirtio12: ssd:vm-1-disk-1\nide0: file=data:vm-1-disk-2\nsata5: size=1G,file=data:vm-1-disk-3\nefidisk0: data:vm-1-disk-4,size=4M\ntpmstate0: data:vm-1-disk-5\n", Config{Volumes: []Volume{
			{"scsi0", "data", "vm-1-disk-0"},
			{"virtio12", "ssd", "vm-1-disk-1"},
			{"ide0", "data", "vm-1-disk-2"},
			{"sata5", "data", "vm-1-disk-3"},
			{"efidisk0", "data", "vm-1-disk-4"},
			{"tpmstate0", "data", "vm-1-disk-5"},
		}}},
		{"container", "rootfs: data:subvol-1-disk-0,size=8G\nmp0: volume=data:subvol-1-disk-1,mp=/srv\nmp1: /tank/share,mp=/share\n", Config{Volumes: []Volume{
			{"rootfs", "data", "subvol-1-disk-0"},
			{"mp0", "data", "subvol-1-disk-1"},
			{"mp1", "", "/tank/share"},
		}}},
		{"linked clone", "scsi0: data:base-9-disk-0/vm-1-disk-0\n", Config{Volumes: []Volume{{"scsi0", "data", "vm-1-disk-0"}}}},
		{"device by path", "scsi0: /dev/disk/by-id/ata-x:y_1\n", Config{Volumes: []Volume{{"scsi0", "", "/dev/disk/by-id/ata-x:y_1"}}}},
		{"not disks", "ide2: none,media=cdrom\nide3: local:iso/debian.iso,media=cdrom\nsata0: data:vm-1-cloudinit,media=cdrom\nscsihw: virtio-scsi-pci\nvmstate: data:vm-1-state-a\nnet0: virtio=00:11:22:33:44:55,bridge=vmbr0\nscsi: x:y\n", Config{}},
		{"unused", "unused3: data:vm-1-disk-9\n", Config{Volumes: []Volume{{"unused3", "data", "vm-1-disk-9"}}}},
		{"snapshots are the past", "lock: snapshot\n\n[before]\nscsi0: data:vm-1-disk-0\nlock: backup\ntemplate: 1\n", Config{Lock: "snapshot", Snapshots: []string{"before"}}},
		{"pending counts", "scsi0: data:vm-1-disk-0\n\n[PENDING]\nscsi1: data:vm-1-disk-1\ndelete: scsi0\n\n[special:cloudinit]\nscsi2: data:vm-1-disk-2\n", Config{Volumes: []Volume{
			{"scsi0", "data", "vm-1-disk-0"},
			{"scsi1", "data", "vm-1-disk-1"},
		}}},
		{"carriage returns", "lock: backup\r\nscsi0: data:vm-1-disk-0\r\n", Config{Lock: "backup", Volumes: []Volume{{"scsi0", "data", "vm-1-disk-0"}}}},
		{"paths in args", `args: -drive file=/dev/zvol/tank/data/vm-9-disk-0,if=none -blockdev {"filename":"/dev//tank/data/vm-9-disk-1"} -fsdev local,path='/tank/data/subvol-9-disk-0' -nbd dev/shm` + "\n[PENDING]\nargs: -hda host_device:/dev/zvol/a\n[old]\nargs: /dev/zvol/b\n", Config{Snapshots: []string{"old"}, Volumes: []Volume{
			{"args", "", "/dev/zvol/tank/data/vm-9-disk-0"},
			{"args", "", "/dev/tank/data/vm-9-disk-1"},
			{"args", "", "/tank/data/subvol-9-disk-0"},
			{"args", "", "/dev/zvol/a"},
		}}},
		{"what runs hooks is not a disk", "hookscript: /dev/zvol/a\ndescription: /dev/zvol/b\nlxc.mount.entry: /dev/zvol/c d\n", Config{}},
		{"no newline at the end", "lock: migrate", Config{Lock: "migrate"}},
	} {
		test.want.ID = ID{VMID: 1, Kind: QEMU}
		assert.Equal(t, test.want, parseConfig(test.want.ID, test.text), test.name)
	}
	raw := parseConfig(ID{2, LXC}, "lxc.mount.entry: /dev/zvol/tank/data/vm-9-disk-0 /dev/x none bind\nlxc.mount.entry = /tank/data/subvol-9-disk-0/srv srv none bind\nlxc.mount.entry: tmpfs dev/shm tmpfs\ndev0: path=/dev/zvol/tank/data/vm-9-disk-1,mode=0660\nargs: /dev/zvol/a\nlxc.hook.mount: /dev/zvol/b\n")
	assert.Empty(t, raw.Warnings)
	assert.Equal(t, []Volume{{"lxc.mount.entry", "", "/dev/zvol/tank/data/vm-9-disk-0"}, {"lxc.mount.entry", "", "/tank/data/subvol-9-disk-0/srv"}, {"dev0", "", "/dev/zvol/tank/data/vm-9-disk-1"}}, raw.Volumes)
	for _, v := range raw.Volumes {
		assert.True(t, v.Raw(), v)
	}
	assert.False(t, Volume{Key: "scsi0"}.Raw())
	assert.True(t, Volume{Key: "unused3"}.Unused())
	assert.False(t, Volume{Key: "scsi3"}.Unused())
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func TestReadStorages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "storage.cfg")
	write(t, path, `# comment
dir: local
	path /var/lib/vz

zfspool: data
	pool tank/data
	content images,rootdir
	sparse 1

zfspool: spaces
        pool   ssd/vm

zfspool: off
	pool tank/off
	disable

zfspool: off1
	pool tank/off1
	disable 1

zfspool: on
	pool tank/on
	disable 0

zfspool: mine
	pool tank/mine
	nodes pve2,pve1

zfspool: theirs
	pool tank/theirs
	nodes pve2,pve10

zfspool: broken
	content images

zfs: iscsi
	pool tank/iscsi

zfspool:last
	pool tank/last`)
	got, _, err := readStorages(path, "pve1")
	require.NoError(t, err)
	assert.Equal(t, []Storage{{"data", "tank/data"}, {"spaces", "ssd/vm"}, {"on", "tank/on"}, {"mine", "tank/mine"}, {"last", "tank/last"}}, got)
	_, _, err = readStorages(path+".gone", "pve1")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadHA(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resources.cfg")
	started, _, err := readHA(path)
	require.NoError(t, err)
	assert.Empty(t, started)
	write(t, path, "vm: 100\n\tstate started\n\tgroup a\n\nct: 101\n\nvm: 102\n\tstate stopped\n\nvm: 103\n\tstate ignored\n\nvm: 104\n\tstate enabled\n\nvm: 105\n\tstate disabled\n\nservice: 106\n\nvm: x\n")
	started, _, err = readHA(path)
	require.NoError(t, err)
	assert.Equal(t, map[int]bool{100: true, 101: true, 104: true}, started)
}

func TestReadReplication(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replication.cfg")
	here, _, err := readReplication(path, "pve2")
	require.NoError(t, err)
	assert.Empty(t, here)
	write(t, path, "local: 100-0\n\ttarget pve2\n\tschedule */5\n\nlocal: 101-0\n\ttarget pve3\n\nlocal: 101-1\n\ttarget pve2\n\tdisable 1\n\nlocal: 102-0\n\ttarget pve3\n\nlocal: 103-0\n\tcomment pve2\n\nremote: 104-0\n\ttarget pve2\n\nlocal: x-0\n\ttarget pve2\n")
	here, warnings, err := readReplication(path, "pve2")
	require.NoError(t, err)
	assert.Empty(t, warnings)
	assert.Equal(t, map[int]bool{100: true, 101: true, 102: false, 103: false}, here)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o755))
	_, _, err = readReplication(path, "pve2")
	assert.Error(t, err, "not read is not known")
}

package pve

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Proxmox's files in these tests have mistakes, as a person makes them who edits the files by hand.
// The expected results are those of Proxmox 9.2.

func TestStrangeStorages(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	for _, test := range []struct {
		name, text string
		want       []Storage
		warning    string
	}{
		{"a tab", "zfspool: data\n\tpool\ttank/data\n\tnodes\t\tpve1\n", []Storage{{"data", "tank/data"}}, ""},
		{"a tab before what disables", "zfspool: data\n\tpool tank/data\n\tdisable\t1\n", nil, ""},
		{"a vertical tab", "zfspool: data\n\tpool\vtank/data\n", []Storage{{"data", "tank/data"}}, ""},
		{"upper case", "ZFSpool: data\n\tpool tank/data\n", []Storage{{"data", "tank/data"}}, ""},
		{"a line without indent", "zfspool: data\nsome words\n\tpool tank/data\n", []Storage{{"data", "tank/data"}}, ""},
		{"a long line", "# " + long + "\nzfspool: data\n\tpool tank/data\n\tcomment " + long + "\n", []Storage{{"data", "tank/data"}}, ""},
		{"pool twice", "zfspool: data\n\tpool tank/data\n\tpool tank/other\n", []Storage{{"data", "tank/data"}}, `line 3: pool of "data" appears twice`},
		{"disable yes", "zfspool: data\n\tpool tank/data\n\tdisable yes\n", []Storage{{"data", "tank/data"}}, `line 3: Proxmox refuses the value "yes" for disable of "data": the storage stays enabled`},
		{"disable on", "zfspool: data\n\tpool tank/data\n\tdisable on\n", []Storage{{"data", "tank/data"}}, "the storage stays enabled"},
		{"disable 2", "zfspool: data\n\tpool tank/data\n\tdisable 2\n", []Storage{{"data", "tank/data"}}, "the storage stays enabled"},
		{"disable off", "zfspool: data\n\tpool tank/data\n\tdisable off\n", []Storage{{"data", "tank/data"}}, "the storage stays enabled"},
		{"refused, then accepted", "zfspool: data\n\tpool tank/data\n\tdisable yes\n\tdisable 1\n", nil, "the storage stays enabled"},
		{"no nodes", "zfspool: data\n\tpool tank/data\n\tnodes\n", []Storage{{"data", "tank/data"}}, "the storage is for all nodes"},
		{"a list of none", "zfspool: data\n\tpool tank/data\n\tnodes ,\n", nil, ""},
		{"nodes that are none", "zfspool: data\n\tpool tank/data\n\tnodes pve2,pve_3\n", []Storage{{"data", "tank/data"}}, "the storage is for all nodes"},
		{"nodes, in many ways apart", "zfspool: data\n\tpool tank/data\n\tnodes pve2;\tpve1, pve3\n", []Storage{{"data", "tank/data"}}, ""},
		{"no empty line between", "dir: local\n\tpath /var\nzfspool: data\n\tpool tank/data\n", nil, `line 3: does not begin a section: Proxmox reads the following lines as part of "local"`},
		{"a line of blanks between", "zfspool: data\n\tpool tank/data\n \t \nzfspool: ssd\n\tpool ssd\n\tdisable\n", nil, "line 4: does not begin a section"},
		{"line ends of Windows", "dir: local\r\n\tpath /var\r\n\r\nzfspool: data\r\n\tpool tank/data\r\n", nil, "does not begin a section"},
		{"the only section, with such line ends", "zfspool: data\r\n\tpool tank/data\r\n", []Storage{{"data", "tank/data"}}, ""},
		{"a comment between", "zfspool: data\n# mine\n\t# too\n\tpool tank/data\n", []Storage{{"data", "tank/data"}}, ""},
		{"0 ends a section", "zfspool: data\n\tpool tank/data\n0\nzfspool: ssd\n\tpool ssd\n", []Storage{{"data", "tank/data"}, {"ssd", "ssd"}}, ""},
		{"an indented header", " zfspool: data\n\tpool tank/data\n", nil, "line 1: is in no section: Proxmox skips it"},
		{"a header of two words", "zfspool: my data\n\tpool tank/data\n", nil, "line 1: is in no section"},
		{"no colon", "zfspool data\n\tpool tank/data\n", nil, "line 1: is in no section"},
		{"a name that is none", "zfspool: d\n\tpool tank/data\n", nil, `line 1: Proxmox skips storage "d"`},
		{"local", "zfspool: local\n\tpool tank/data\n", nil, "as a directory"},
		{"no pool", "zfspool: data\n\tpool\n\tnodes pve1\n", nil, "has no pool"},
		{"a pool that is a flag", "zfspool: data\n\tpool -r\n", nil, "is not a dataset's name"},
		{"a pool with a slash too many", "zfspool: data\n\tpool tank/data/\n", nil, "is not a dataset's name"},
		{"the same name twice", "zfspool: data\n\tpool tank/data\n\nzfspool: data\n\tpool tank/new\n", []Storage{{"data", "tank/new"}}, `line 4: storage "data" appears twice: Proxmox uses the last`},
		{"no content", "zfspool: data\n\tpool tank/data\n\tcontent none\n", []Storage{{"data", "tank/data"}}, "without images or rootdir"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := testCluster(t)
			write(t, h.Etc+"/storage.cfg", test.text)
			c, err := h.Cluster(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, c.Storages)
			assertWarned(t, c, test.warning)
		})
	}
}

func assertWarned(t *testing.T, c Cluster, want string) {
	t.Helper()
	all := strings.Join(c.Warnings, "\n")
	if want == "" {
		assert.Empty(t, all)
		return
	}
	assert.Contains(t, all, want)
}

func TestStrangeHA(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       map[int]bool
		warning    string
	}{
		{"a tab", "vm: 100\n\tstate\tstopped\n", map[int]bool{}, ""},
		{"upper case", "VM: 100\n\tstate stopped\n\nCT: 101\n", map[int]bool{101: true}, ""},
		{"a state that is none", "vm: 100\n\tstate off\n", map[int]bool{100: true}, `refuses the value "off" for state of "100": the guest is kept started`},
		{"an empty state", "vm: 100\n\tstate\n", map[int]bool{100: true}, "the guest is kept started"},
		{"twice", "vm: 100\n\tstate stopped\n\tstate started\n", map[int]bool{}, "Proxmox uses the first"},
		{"no empty line between", "vm: 100\n\tstate stopped\nvm: 101\n\tstate started\n", map[int]bool{}, "line 3: does not begin a section"},
		{"no guest", "vm: 0100\n\nvm: +102\n\nvm: 5\n\nservice: 103\n", map[int]bool{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := testCluster(t)
			write(t, h.Etc+"/ha/resources.cfg", test.text)
			c, err := h.Cluster(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, c.HAStarted)
			assertWarned(t, c, test.warning)
		})
	}
}

func TestStrangeConfigurations(t *testing.T) {
	disk := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, "data:"+n)
		}
		return all
	}
	for _, test := range []struct {
		name, text string
		kind       Kind
		volumes    []string
		lock       string
		template   bool
		warning    string
	}{
		{"a container's pending section", "rootfs: data:a\n[pve:pending]\nmp0: data:b,mp=/b\nlock: backup\ntemplate: 1\n", LXC, disk("a", "b"), "", false, ""},
		{"a container's snapshot called pending", "rootfs: data:a\n[pending]\nmp0: data:b,mp=/b\nlock: backup\n", LXC, disk("a"), "", false, ""},
		{"what is pending is not a lock yet", "scsi0: data:a\n[pending]\nlock: backup\ntemplate: 1\n", QEMU, disk("a"), "", false, ""},
		{"pending behind a snapshot", "scsi0: data:a\n[snap]\nscsi1: data:b\n[PENDING]\nscsi2: data:c\n", QEMU, disk("a", "c"), "", false, ""},
		{"template: yes", "template: yes\n", QEMU, nil, "", true, ""},
		{"template: on", "template: On\n", LXC, nil, "", true, ""},
		{"template: true", "template:true\n", QEMU, nil, "", true, ""},
		{"template: off", "template: off\n", QEMU, nil, "", false, ""},
		{"the volume is not first", "scsi0: size=1G,data:a,ssd=1\n", QEMU, disk("a"), "", false, ""},
		{"the volume's key in the middle", "rootfs: size=1G,volume=data:a\n", LXC, disk("a"), "", false, ""},
		{"empty options", "scsi0: ,,data:a,\n", QEMU, disk("a"), "", false, ""},
		{"a disk without a volume", "scsi0: size=1G\n", QEMU, nil, "", false, ""},
		{"a bracket that begins no section", "scsi0: data:a\n[x\nscsi1: data:b\n", QEMU, disk("a", "b"), "", false, "qemu-server/100.conf line 2: does not begin a section"},
		{"a bracket in a container's", "rootfs: data:a\n[x]\nmp0: data:b,mp=/b\n", LXC, disk("a", "b"), "", false, "line 2: does not begin a section"},
		{"a section that is unknown", "scsi0: data:a\n[x]\nscsi1: data:b\n[snap]\nscsi2: data:c\n", QEMU, disk("a"), "", false, "line 2: begins a section that Proxmox does not know"},
		{"an indented disk", "scsi0: data:a\n scsi1: data:b\n", QEMU, disk("a"), "", false, "line 2: Proxmox ignores this scsi1"},
		{"upper case", "SCSI0: data:a\n", QEMU, nil, "", false, "Proxmox ignores this SCSI0"},
		{"a blank before the colon", "lock : backup\n", QEMU, nil, "", false, "Proxmox ignores this lock"},
		{"a disk twice", "scsi0: data:a\nscsi0: data:b\n", QEMU, disk("a", "b"), "", false, "line 2: scsi0 appears twice"},
		{"an old name", "cdrom: data:a\n", QEMU, disk("a"), "", false, ""},
		{"the drive of the host", "ide2: cdrom,media=cdrom\ncdrom: cdrom\n", QEMU, nil, "", false, "ide2 appears twice"},
		{"a tab behind the colon", "lock:\tbackup \t\n", QEMU, nil, "backup", false, ""},
		{"a line of blanks", "scsi0: data:a\n \t\nscsi1: data:b\n", QEMU, disk("a", "b"), "", false, ""},
		{"a long line", "#" + strings.Repeat("x", 70<<10) + "\nscsi0: data:a\n", QEMU, disk("a"), "", false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := parseConfig(ID{100, test.kind}, test.text)
			var volumes []string
			for _, v := range c.Volumes {
				volumes = append(volumes, v.Storage+":"+v.Name)
			}
			assert.Equal(t, test.volumes, volumes)
			assert.Equal(t, test.lock, c.Lock)
			assert.Equal(t, test.template, c.Template)
			assertWarned(t, Cluster{Warnings: c.Warnings}, test.warning)
		})
	}
}

// A kept configuration has the lines that are in force: the lines of the first section, except
// lines that Proxmox does not understand.
func TestStrangeConfigurationsAreKept(t *testing.T) {
	const first = "boot: \nname: a\r\n \t\n[x\nscsi0: data:a\n"
	for rest, want := range map[string]string{
		"[x]\nscsi1: data:b\n[snap]\nscsi2: data:c\n": "scsi1: data:b\n",
		"[special:later]\nscsi1: data:b\n":            "scsi1: data:b\n",
		"[special:cloudinit]\nscsi1: data:b\n":        "scsi1: data:b\n",
		"[pve:pending]\nscsi1: data:b\n":              "",
		"[PENDING]\nscsi1: data:b\n":                  "",
	} {
		kept, _ := Keepable(LXC, first+rest)
		assert.Equal(t, "boot: \nname: a\nscsi0: data:a\n"+want, kept, rest)
		kept, _ = Keepable(QEMU, first+rest)
		assert.Equal(t, "boot: \nname: a\nscsi0: data:a\n", kept, rest)
		for _, kind := range []Kind{QEMU, LXC} {
			id := ID{100, kind}
			in := parseConfig(id, first+rest).Volumes
			assert.Subset(t, in, Capture(id, "pve1", first+rest, nil).Config().Volumes, rest)
		}
	}
}

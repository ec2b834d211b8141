package pve

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"math/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fullConfig = `#the shop
args: -vnc 0.0.0.0:77,password=on
boot: order=scsi0
cipassword: $5$secret
ciuser: admin
hookscript: local:snippets/snapwatch
lock: backup
name: shop
parent: before
scsi0: data:vm-100-disk-0,size=8G
sshkeys: ssh-ed25519%20AAAA
vmgenid: 1b8cbf4a-2a0c-4b1c-a1e5-4d8b1e9f6f10

[PENDING]
cipassword: $5$pending
memory: 4096

[before]
name: old
snaptime: 1750000000
`

const keptConfig = `#the shop
boot: order=scsi0
ciuser: admin
hookscript: local:snippets/snapwatch
name: shop
scsi0: data:vm-100-disk-0,size=8G
vmgenid: 1b8cbf4a-2a0c-4b1c-a1e5-4d8b1e9f6f10
`

func TestKeepable(t *testing.T) {
	kept, without := Keepable(QEMU, fullConfig)
	assert.Equal(t, keptConfig, kept)
	assert.Equal(t, []string{"args", "cipassword", "sshkeys"}, without)

	kept, without = Keepable(LXC, "rootfs: data:subvol-200-disk-0\nenv: A=b\nlxc.environment: PASSWORD=x\nlxc.environment.runtime: B=y\nlxc.environment: C=z\nlxc.environment = D=hunter2:x\nlxc.environment.runtime=E=w\nlxc.mount.entry = /a:b c none bind\nlxc.apparmor.profile: unconfined\n")
	assert.Equal(t, "rootfs: data:subvol-200-disk-0\nlxc.mount.entry = /a:b c none bind\nlxc.apparmor.profile: unconfined\n", kept)
	assert.Equal(t, []string{"env", "lxc.environment", "lxc.environment.runtime"}, without)
	for line, name := range map[string]string{
		"lxc.init.cmd = /sbin/app --password hunter2":                                          "lxc.init.cmd",
		"lxc.execute.cmd: /sbin/app hunter2":                                                   "lxc.execute.cmd",
		"lxc.hook.pre-start = /sbin/mount-it hunter2":                                          "lxc.hook.pre-start",
		"lxc.environment+=A=hunter2":                                                           "lxc.environment",
		"lxc.environment += A=hunter2":                                                         "lxc.environment",
		"LXC.Environment = A=hunter2":                                                          "a line",
		"CIPassword: hunter2":                                                                  "CIPassword",
		"lxc.mount.entry = //nas/x mnt cifs username=u,password=hunter2,ro 0 0":                "lxc.mount.entry",
		"lxc.mount.entry: //nas/x mnt cifs username=u,PASS = hunter2 0 0":                      "lxc.mount.entry",
		"mp0: data:subvol-200-disk-1,mp=/a,mountoptions=secret=hunter2":                        "mp0",
		"scsi0: rbd:pool/image:id=admin:key=hunter2,size=8G":                                   "scsi0",
		"scsi0: nbd://user:hunter2@10.0.0.1/x":                                                 "scsi0",
		"scsi0: iscsi://user%hunter2@10.0.0.1/iqn/0":                                           "scsi0",
		"net0: virtio=AA:BB:CC:DD:EE:FF,token=hunter2":                                         "net0",
		"scsi0: file.driver=curl,file.password-secret=hunter2,file.url=x":                      "scsi0",
		"lxc.mount.entry = tank/x mnt zfs keylocation=file:///hunter2,access_key2=hunter2 0 0": "lxc.mount.entry",
		"lxc.net.0.script.up = /usr/local/bin/up hunter2":                                      "lxc.net.0.script.up",
		"lxc.net.0.script.down: /usr/local/bin/down hunter2":                                   "lxc.net.0.script.down",
		"lxc.mount.entry = //nas/x mnt cifs username=u%hunter2 0 0":                            "lxc.mount.entry",
		"lxc.mount.entry = //nas/x mnt cifs ro,user=shop/u%hunter2 0 0":                        "lxc.mount.entry",
		"lxc.mount.entry = //nas/x mnt cifs username=u,password\\=hunter2 0 0":                 "lxc.mount.entry",
		"scsi1: nbd://user:ab/hunter2@host/x":                                                  "scsi1",
		"scsi1: iscsi://user%ab/hunter2@host/x":                                                "scsi1",
		"net1: virtio=AA:BB:CC:DD:EE:FF,psk=hunter2":                                           "net1",
		"a strange line with password=hunter2":                                                 "a line",
	} {
		kept, without = Keepable(LXC, "name: a\n"+line+"\n")
		assert.Equal(t, "name: a\n", kept, line)
		assert.Equal(t, []string{name}, without, line)
		value, err := capture(ID{200, LXC}, line+"\n")
		require.NoError(t, err)
		c, err := ReadCaptured(value)
		require.NoError(t, err, line)
		assert.NotContains(t, c.Text, "hunter2")
	}
	for _, line := range []string{
		"hookscript: local:snippets/keys.sh", "efidisk0: data:vm-100-disk-1,efitype=4m,pre-enrolled-keys=1,size=1M",
		"tags: pass;auth", "lxc.mount.entry = /a:b c none bind", "net0: virtio=AA:BB:CC:DD:EE:FF,bridge=vmbr0,tag=5", "features: keyctl=1,nesting=1",
		"keyboard: de", "#key=in the description", "ciuser: key", "smbios1: uuid=1b8cbf4a-2a0c-4b1c-a1e5-4d8b1e9f6f10,serial=x", "ostype: win11",
		"scsi0: nbd://10.0.0.1:10809/export@new", "scsi0: nbd://[fd00::1]:10809/export@new", "lxc.mount.entry = //nas/x mnt cifs username=u 0 0", "lxc.net.0.link = vmbr0",
	} {
		kept, without = Keepable(QEMU, line+"\n")
		assert.Equal(t, line+"\n", kept)
		assert.Empty(t, without, line)
	}
	kept, without = Keepable(QEMU, "[before]\nname: a\n")
	assert.Empty(t, kept)
	assert.Empty(t, without)
}

// capture returns the property value in which a guest's configuration text is stored with a
// snapshot.
func capture(id ID, text string) (string, error) { return Capture(id, "pve1", text, nil).Value() }

func TestCapture(t *testing.T) {
	value, err := capture(ID{100, QEMU}, fullConfig)
	require.NoError(t, err)
	c, err := ReadCaptured(value)
	require.NoError(t, err)
	assert.Equal(t, "# snapwatch: qemu-server/100.conf of pve1, left out: args, cipassword, sshkeys\n"+keptConfig, c.Text)
	assert.Equal(t, ID{100, QEMU}, c.ID)
	assert.Equal(t, Capture(ID{100, QEMU}, "pve1", fullConfig, nil), c)
	sum, refers := ReadReference(c.Reference())
	assert.True(t, refers)
	assert.Equal(t, c.Sum(), sum)
	_, refers = ReadReference(value)
	assert.False(t, refers)
	assert.NotEqual(t, sum, Capture(ID{101, QEMU}, "pve1", fullConfig, nil).Sum())
	value, err = capture(ID{200, LXC}, "rootfs: a\n")
	require.NoError(t, err)
	c, err = ReadCaptured(value)
	require.NoError(t, err)
	assert.Equal(t, ID{200, LXC}, c.ID)
	assert.Contains(t, c.Text, "lxc/200.conf of pve1, left out: nothing\nrootfs")

	_, err = capture(ID{100, QEMU}, "name: a\x1bb\n")
	assert.ErrorContains(t, err, "not printable (U+001B)")
	_, err = capture(ID{100, QEMU}, "name: \xff\n")
	assert.ErrorContains(t, err, "not UTF-8")
	noise := make([]byte, 7000)
	rand.New(rand.NewSource(1)).Read(noise)
	_, err = capture(ID{100, QEMU}, "#"+base64.StdEncoding.EncodeToString(noise)+"\n")
	assert.ErrorIs(t, err, ErrTooLong)
	_, err = capture(ID{100, QEMU}, "#"+strings.Repeat("a", maxCapturedText)+"\n")
	assert.ErrorIs(t, err, ErrTooLong)
}

// If a configuration is stored, restored and stored again, the second stored text equals the first,
// even if Proxmox rewrites the file in between. The restored configuration lacks the secrets. The
// first line of the second stored text still names the keys of the secrets, even if a person has
// set some of these keys again.
func TestCaptureAgain(t *testing.T) {
	data := []Storage{{Name: "data"}}
	for _, config := range []string{"#a note\nrootfs: a\n", "#a note\nrootfs: data:subvol-200-disk-0\nmp0: lvm:vm-200-disk-0\n"} {
		first := Capture(ID{200, LXC}, "pve1", config, data)
		again := Capture(ID{200, LXC}, "pve1", first.Text, data)
		assert.Equal(t, first, again)
		rewritten := strings.ReplaceAll(first.Text, "snapwatch: ", "snapwatch%3A ")
		rewritten = strings.ReplaceAll(strings.ReplaceAll(rewritten, "out: ", "out%3A "), "on: ", "on%3A ")
		assert.Equal(t, first, Capture(ID{200, LXC}, "pve1", rewritten, data))
		secret := Capture(ID{200, LXC}, "pve1", config+"lxc.init.cmd = /a b\nenv: A=b\n", data)
		assert.Contains(t, secret.Text, "left out: env, lxc.init.cmd\n")
		assert.Equal(t, secret, Capture(ID{200, LXC}, "pve1", secret.Text, data))
		assert.Equal(t, secret, Capture(ID{200, LXC}, "pve1", strings.ReplaceAll(secret.Text, ": env", "%3A env"), data))
		assert.Equal(t, secret, Capture(ID{200, LXC}, "pve1", secret.Text+"lxc.init.cmd = /c\n", data))
	}
}

// A stored guest configuration names the storages on which snap takes no snapshots, because a host
// that receives copies cannot know these storages.
func TestCaptureNamesOtherStorages(t *testing.T) {
	const config = "scsi0: data:vm-100-disk-0\nscsi1: lvm:vm-100-disk-0\nscsi2: ceph:vm-100-disk-3\nscsi3: lvm:vm-100-disk-1\nide2: local:iso/debian.iso,media=cdrom\nscsi4: /dev/sdb\n"
	c := Capture(ID{100, QEMU}, "pve1", config, []Storage{{Name: "data"}, {Name: "fast"}})
	assert.Equal(t, "# snapwatch: qemu-server/100.conf of pve1, left out: nothing\n# snapwatch: takes no snapshots on: ceph, lvm\n"+config, c.Text)
	assert.Equal(t, []string{"ceph", "lvm"}, c.Others())
	value, err := c.Value()
	require.NoError(t, err)
	read, err := ReadCaptured(value)
	require.NoError(t, err)
	assert.Equal(t, c, read)
	for name, storages := range map[string][]Storage{"all are on ZFS": {{Name: "data"}, {Name: "lvm"}, {Name: "ceph"}}, "not known": nil} {
		c = Capture(ID{100, QEMU}, "pve1", config, storages)
		assert.NotContains(t, c.Text, "no snapshots", name)
		assert.Empty(t, c.Others(), name)
	}
	assert.Empty(t, Captured{Text: "# snapwatch: takes no snapshots on: lvm\n"}.Others(), "only in its place")
	assert.Empty(t, Captured{Text: "# snapwatch: qemu-server/100.conf of pve1, left out: nothing\n#snapwatch: takes no snapshots on: lvm\n"}.Others(), "no word of a person's")
}

// A stored configuration can be read again, whatever lines were omitted when it was stored.
func TestKeptIsRead(t *testing.T) {
	for _, line := range []string{
		"lxc.environment.A: b", "lxc.environment.runtime2: b", "lxc.environment.my_app: b",
		"lxc.environment.a-b = x", "lxc.environment.hooks: PW=x", "lxc.environment.a b: x", "lxc.environment.\u00e4: x",
	} {
		c := Capture(ID{200, LXC}, "pve1", "rootfs: data:subvol-200-disk-0\n"+line+"\n", nil)
		value, err := c.Value()
		require.NoError(t, err)
		read, err := ReadCaptured(value)
		require.NoError(t, err, c.Text)
		assert.Equal(t, c, read)
		assert.Equal(t, c, Capture(ID{200, LXC}, "pve1", strings.ReplaceAll(c.Text, "out: ", "out%3A ")+line+"\n", nil), "it is kept again")
	}
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// ReadCaptured must cope with any value, because a value may have arrived in a stream.
func TestReadCapturedRefuses(t *testing.T) {
	head := "# snapwatch: lxc/200.conf of pve1, left out: nothing\n"
	b64 := base64.StdEncoding.EncodeToString
	good := packed(t, head)
	_, err := ReadCaptured(b64(good))
	require.NoError(t, err)
	for want, value := range map[string]string{
		"too long for a property": strings.Repeat("A", MaxCaptured+1),
		"not base64":              "§",
		"not gzip":                b64([]byte("text")),
		"unexpected EOF":          b64(good[:len(good)-3]),
		"checksum":                b64(append(append([]byte{}, good[:len(good)-6]...), 0, 0, 0, 0, 0, 0)),
		"unexpected data":         b64(append(append([]byte{}, good...), good...)),
		"more than 262144 bytes":  b64(packed(t, head+strings.Repeat("\n", 4<<20))),
		"not UTF-8":               b64(packed(t, head+"\xff")),
		"not printable (U+001B)":  b64(packed(t, head+"\x1b[2J")),
		"not printable (U+202E)":  b64(packed(t, head+"\u202e")),
		"the first line":          b64(packed(t, "name: a\n")),
	} {
		_, err := ReadCaptured(value)
		assert.ErrorContains(t, err, want)
	}
	_, err = ReadCaptured(b64(good)[:8] + "\n" + b64(good)[8:])
	assert.ErrorContains(t, err, "not base64")
}

// FuzzCaptured checks that ReadCaptured refuses any received value that is not plain text, and that
// any stored configuration can be read again and contains no secrets.
func FuzzCaptured(f *testing.F) {
	value, err := capture(ID{100, QEMU}, fullConfig)
	require.NoError(f, err)
	f.Add(value, fullConfig)
	f.Add("H4sIAAAAAAAA/wMAAAAAAAAAAAA=", "env: a\r\n lock : x\n#cipassword: y\n")
	f.Fuzz(func(t *testing.T, value, config string) {
		if c, err := ReadCaptured(value); err == nil {
			require.NoError(t, plainText(c.Text))
			require.True(t, strings.HasPrefix(c.Text, "# snapwatch: "))
		}
		value, err := capture(ID{100, QEMU}, config)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(value), MaxCaptured)
		c, err := ReadCaptured(value)
		require.NoError(t, err)
		require.NotRegexp(t, `(?m)^(cipassword|sshkeys|lock)\s*:`, c.Text)
		require.NotRegexp(t, `(?m)^\[`, c.Text)
	})
}

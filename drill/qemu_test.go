package drill

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A guest gets the machine, the firmware and the controllers of its configuration, and no network.
func TestQEMU(t *testing.T) {
	devices := map[string]string{"vm-100-disk-0": "/dev/zvol/t/d-0", "vm-100-disk-1": "/dev/zvol/t,x/d-1", "vm-100-disk-2": "/dev/zvol/t/d-2"}
	for name, c := range map[string]struct {
		config      string
		has, hasNot []string
		remarks     []string
		err         string
	}{
		"virtio-scsi": {
			"boot: order=net0;scsi1;scsi0\nmemory: 2048\nscsi0: z:vm-100-disk-0,size=1G\nscsi1: z:base-9-disk-0/vm-100-disk-1,size=2G\nscsihw: virtio-scsi-single\nnet0: virtio=AA,bridge=vmbr0\n[before]\nvirtio0: z:vm-100-disk-2\n",
			[]string{
				"-nic none", "-machine pc,accel=kvm:tcg", "-m 2048", "-no-reboot",
				"-drive if=none,format=raw,snapshot=on,id=scsi0,file=/dev/zvol/t/d-0 -device virtio-scsi-pci,id=scsi -device scsi-hd,bus=scsi.0,channel=0,scsi-id=0,lun=0,bootindex=3,drive=scsi0",
				"file=/dev/zvol/t,,x/d-1 -device scsi-hd,bus=scsi.0,channel=0,scsi-id=0,lun=1,bootindex=2,drive=scsi1",
				"path=/run/agent -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0", "-serial file:/run/console",
			},
			[]string{"vmbr0", "virtio-blk", "pflash", "t/d-2"}, nil, "",
		},
		"legacy words": {
			"bootdisk: ide1\nide0: z:vm-100-disk-0\nide1: z:vm-100-disk-1\nide2: local:iso/x.iso,media=cdrom\nmemory: current=4096\nunused0: z:vm-100-disk-2\n",
			[]string{"-device ide-hd,bus=ide.0,unit=0,drive=ide0", "-device ide-hd,bus=ide.0,unit=1,bootindex=1,drive=ide1", "-m 4096"}, []string{"ide2", "d-2"}, nil, "",
		},
		"q35 with UEFI": {
			"bios: ovmf\nefidisk0: z:vm-100-disk-0,efitype=4m,size=1M\nmachine: pc-q35-8.1,viommu=virtio\nsata0: z:vm-100-disk-1\nvirtio3: z:vm-100-disk-2\nscsi4: ceph:vm-100-disk-9,size=1G\n",
			[]string{
				"-machine q35,accel", "-m 512", "-drive if=pflash,unit=0,format=raw,readonly=on,file=/fw.fd -drive if=pflash,unit=1,format=raw,snapshot=on,size=540672,file=/dev/zvol/t/d-0",
				"-device ide-hd,bus=ide.0,bootindex=1,drive=sata0", "-device virtio-blk-pci,drive=virtio3",
			},
			nil, []string{"scsi4 (ceph:vm-100-disk-9) is left out: it has no clone"}, "",
		},
		"lsi, and SATA on pc": {
			"scsi0: z:vm-100-disk-0\nscsi8: z:vm-100-disk-1\nsata5: z:vm-100-disk-2\n",
			[]string{"-device lsi,id=scsia -device scsi-hd,bus=scsia.0,scsi-id=0", "-device lsi,id=scsib -device scsi-hd,bus=scsib.0,scsi-id=1", "-device ich9-ahci,id=sata -device ide-hd,bus=sata.5,bootindex=1"}, nil, nil, "",
		},
		"no disk": {"memory: 1024\nscsi0: ceph:vm-100-disk-0x\n", nil, nil, nil, "names none of the clones"},
	} {
		t.Run(name, func(t *testing.T) {
			m := Machine{Config: c.config, Devices: devices, Agent: "/run/agent", Console: "/run/console", Firmware: "/fw.fd"}
			argv, remarks, err := m.QEMU()
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			line := strings.Join(argv, " ")
			for _, part := range c.has {
				assert.Contains(t, line, part)
			}
			for _, part := range c.hasNot {
				assert.NotContains(t, line, part)
			}
			assert.Equal(t, c.remarks, remarks)
			assert.Equal(t, strings.Count(line, "file=/dev/zvol"), strings.Count(line, "snapshot=on"), "nothing writes to a clone")
		})
	}
	_, _, err := Machine{Config: "bios: ovmf\nscsi0: z:vm-100-disk-0\n", Devices: devices}.QEMU()
	require.ErrorContains(t, err, "apt install ovmf")
}

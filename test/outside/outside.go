// Package outside runs the real guestfish for drills in the lab's machine, where its appliance would
// be an emulated machine inside of an emulated machine: guestfish runs on this machine, and reaches
// the clones in the lab's machine by NBD. See make test-drill-lab.
package outside

// The ports of the lab's machine: at the first it hands out scripts for guestfish and takes their
// results, at the second it serves the devices of a script by NBD, by their names below /dev.
const (
	ScriptsPort = 10193
	DisksPort   = 10809
)

// The paths at ScriptsPort. The answer to a request for a script comes when there is one.
const (
	ScriptPath = "/script"
	ResultPath = "/result"
)

// Ready is printed in the machine when it can be asked for scripts.
const Ready = "scripts for guestfish can be fetched"

// The names of the images that the job has, compressed: an ext4 on a partition, and an xfs on a logical
// volume. Both hold a Linux system, and were in use when the image was made. PartitionStart is the
// first byte of the partition on both, and VolumeStart that of the logical volume.
const (
	Ext4Image, XFSImage = "ext4.gz", "xfs.gz"
	Ext4MiB, XFSMiB     = 64, 400
	PartitionStart      = 64 << 10
	VolumeStart         = PartitionStart + 1<<20
	// LastFile is the name of the file that was made last. In the xfs only the journal has it.
	LastFile = "written-last"
)

// Result is the result of guestfish.
type Result struct {
	Output, Complaint string
	Status            int
}

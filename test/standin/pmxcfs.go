package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// The stand-in answers these requests of the FUSE protocol, by their numbers in linux/fuse.h.
const (
	fuseGetattr = 3
	fuseInit    = 26
)

// pmxcfs replaces the daemon that serves /etc/pve, and hangs. Started as "pmxcfs DIR", pmxcfs
// mounts a FUSE file system on DIR, prints "ready" and answers no request about the content of DIR.
// pmxcfs reads the requests, so a process that accesses DIR waits in the kernel until the stand-in
// ends, and no signal reaches the waiting process. A process that accesses a real pmxcfs that hangs
// waits in the kernel, too.
func pmxcfs(args []string) error {
	if len(args) != 1 {
		return errors.New("want the directory to mount on")
	}
	dir := args[0]
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", device.Fd())
	if err := syscall.Mount("pmxcfs", dir, "fuse.standin", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting on %s: %w", dir, err)
	}
	asked := make(chan error, 1)
	go func() { asked <- ignore(int(device.Fd())) }()
	err = reportRunning()
	// All processes that wait for the hanging directory continue when the FUSE connection ends.
	return errors.Join(err, syscall.Unmount(dir, syscall.MNT_DETACH|syscall.MNT_FORCE))
}

// ignore reads FUSE requests for ever and answers only the two requests that a mount needs: the
// initial request, and the request for the attributes of the directory.
func ignore(device int) error {
	request := make([]byte, 1<<17)
	for {
		n, err := syscall.Read(device, request)
		switch {
		case err == syscall.EINTR || err == syscall.EAGAIN || err == syscall.ENOENT:
			continue
		case err != nil:
			return err
		case n < 40:
			return fmt.Errorf("a request of %d bytes", n)
		}
		opcode, unique, node := binary.NativeEndian.Uint32(request[4:]), binary.NativeEndian.Uint64(request[8:]), binary.NativeEndian.Uint64(request[16:])
		var body []byte
		switch {
		case opcode == fuseInit:
			body = make([]byte, 64)
			binary.NativeEndian.PutUint32(body, 7)
			binary.NativeEndian.PutUint32(body[4:], 31)
			binary.NativeEndian.PutUint32(body[20:], 4096)
		case opcode == fuseGetattr && node == 1:
			body = make([]byte, 104)
			binary.NativeEndian.PutUint64(body, 1)                             // the attributes are valid for one second
			binary.NativeEndian.PutUint64(body[16:], 1)                        // the directory's inode number
			binary.NativeEndian.PutUint32(body[16+60:], syscall.S_IFDIR|0o755) // the directory's file mode
			binary.NativeEndian.PutUint32(body[16+64:], 2)                     // the directory's number of links
		default:
			continue
		}
		answer := make([]byte, 16, 16+len(body))
		binary.NativeEndian.PutUint32(answer, uint32(16+len(body)))
		binary.NativeEndian.PutUint64(answer[8:], unique)
		if _, err := syscall.Write(device, append(answer, body...)); err != nil {
			return err
		}
	}
}

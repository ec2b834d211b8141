//go:build e2e && outside

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/test/nbd"
	"snapwatch/test/outside"
)

// outsideFish plays guestfish: it waits until the program outside of the machine has run the script,
// and behaves as guestfish behaved there. Its files are pipes with names.
const outsideFish = `#!/bin/sh
cat >/tmp/fish/script
cat /tmp/fish/output
cat /tmp/fish/complaint >&2
exit "$(cat /tmp/fish/status)"
`

// fish is the guestfish outside of the machine.
type fish struct {
	// begun has each script that was handed to it.
	begun chan string
	// looked is called after each script, while the clones are still there.
	looked func(script string)
}

var driveLine = regexp.MustCompile(`(?m)^add-drive "/dev/(zd\d+)" format:raw$`)

// fishOutside gives C a guestfish that runs outside of the machine. The program there, package
// outside, asks for each script, reaches the devices in the script by NBD, and sends the result.
func (w drills) fishOutside() *fish {
	w.t.Helper()
	w.machine(`modprobe virtio_net; udevadm settle; card=$(basename "$(dirname /sys/class/net/*/device)")
ip address add 10.0.2.15/24 dev "$card"; ip link set "$card" up
mkdir /tmp/fish; cd /tmp/fish; mkfifo script output complaint status`)
	require.NoError(w.t, w.c.Install("guestfish", outsideFish))
	f := &fish{begun: make(chan string, 100), looked: func(string) {}}
	var disks net.Listener
	var script string
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+outside.ScriptPath, func(rw http.ResponseWriter, _ *http.Request) {
		text, err := os.ReadFile("/tmp/fish/script")
		if err == nil {
			disks, err = net.Listen("tcp", fmt.Sprintf("10.0.2.15:%d", outside.DisksPort))
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		served := map[string]string{}
		for _, drive := range driveLine.FindAllStringSubmatch(string(text), -1) {
			served[drive[1]] = "/dev/" + drive[1]
		}
		go func(l net.Listener) { _ = nbd.Serve(l, served) }(disks)
		script = string(text)
		f.begun <- script
		_, _ = rw.Write(text)
	})
	mux.HandleFunc("POST "+outside.ResultPath, func(rw http.ResponseWriter, r *http.Request) {
		_ = disks.Close()
		var result outside.Result
		err := json.NewDecoder(r.Body).Decode(&result)
		f.looked(script)
		for _, pipe := range [][2]string{{"output", result.Output}, {"complaint", result.Complaint}, {"status", fmt.Sprintln(result.Status)}} {
			if err == nil {
				err = os.WriteFile("/tmp/fish/"+pipe[0], []byte(pipe[1]), 0o600)
			}
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	})
	l, err := net.Listen("tcp", fmt.Sprintf("10.0.2.15:%d", outside.ScriptsPort))
	require.NoError(w.t, err)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	w.t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }()
	w.t.Log(outside.Ready)
	return f
}

// begins waits until guestfish begins to check file systems.
func (w drills) begins(f *fish) {
	w.t.Helper()
	w.t.Log("waiting until guestfish begins to check file systems")
	for {
		select {
		case script := <-f.begun:
			if !strings.Contains(script, "list-filesystems") {
				return
			}
		case <-w.ctx.Done():
			require.NoError(w.t, w.ctx.Err())
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// activeTasks is the file in which Proxmox lists the active tasks, and the tasks that ended last
// with the time and status of each.
const activeTasks = "/var/log/pve/tasks/active"

// task calls the function `do`. While `do` runs, Proxmox's list of tasks shows an active task.
func task(kind, id string, do func() error) error {
	node, err := os.Hostname()
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	upid := fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:root@pam:", node, os.Getpid(), 0, now, kind, id)
	if err := listTask(upid + " 0"); err != nil {
		return err
	}
	err = do()
	status := "OK"
	if err != nil {
		status, _, _ = strings.Cut(err.Error(), "\n")
	}
	return errors.Join(err, listTask(fmt.Sprintf("%s 1 %08X %s", upid, time.Now().Unix(), status)))
}

// listTask replaces a task's line in Proxmox's list of tasks.
func listTask(line string) error {
	return withFileLock(filepath.Dir(activeTasks)+"/.active.lock", 10*time.Second, func() error {
		text, err := os.ReadFile(activeTasks)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		upid, _, _ := strings.Cut(line, " ")
		lines := []string{line + "\n"}
		for old := range strings.Lines(string(text)) {
			if !strings.HasPrefix(old, upid+" ") {
				lines = append(lines, old)
			}
		}
		made := filepath.Dir(activeTasks) + "/active.new"
		return errors.Join(os.WriteFile(made, []byte(strings.Join(lines, "")), 0o644), os.Rename(made, activeTasks))
	})
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// node is the content of the cluster's files in /etc/pve, as this node sees them.
type node struct {
	name    string
	guests  []guest
	unknown bool // true if every guest's status is unknown
}

// guest is the content of one guest's Proxmox configuration file.
type guest struct {
	vmid   int
	kind   string // the guest's kind: qemu or lxc
	node   string
	config map[string]string // the options in the configuration's current section
}

func readNode(etc string) (node, error) {
	local, err := os.Readlink(filepath.Join(etc, "local"))
	if err != nil {
		return node{}, fmt.Errorf("ipcc_send_rec[1] failed: Connection refused (%w)", err)
	}
	n := node{name: filepath.Base(local)}
	for _, kind := range []string{"qemu", "lxc"} {
		paths, err := filepath.Glob(filepath.Join(etc, "nodes", "*", configDirs[kind], "*.conf"))
		if err != nil {
			return node{}, err
		}
		for _, path := range paths {
			vmid, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".conf"))
			if err != nil {
				continue
			}
			config, err := readConfig(path)
			if errors.Is(err, fs.ErrNotExist) { // the file was moved meanwhile: the whole call fails, as on Proxmox
				return node{}, fmt.Errorf("configuration file '%s' does not exist", strings.TrimPrefix(path, etc+"/"))
			}
			if err != nil {
				return node{}, err
			}
			owner := filepath.Base(filepath.Dir(filepath.Dir(path)))
			n.guests = append(n.guests, guest{vmid: vmid, kind: kind, node: owner, config: config})
		}
	}
	slices.SortFunc(n.guests, func(a, b guest) int { return a.vmid - b.vmid })
	return n, nil
}

// readConfig reads the "key: value" lines of a guest's configuration up to the first section,
// which contains the values of a snapshot or pending values.
func readConfig(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "[") {
			break
		}
		if key, value, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, "#") {
			config[key] = strings.TrimSpace(value)
		}
	}
	return config, nil
}

func (g guest) name() string {
	if g.kind == "lxc" {
		return g.config["hostname"]
	}
	return g.config["name"]
}

func (g guest) number(key string, standard int) int {
	if n, err := strconv.Atoi(g.config[key]); err == nil {
		return n
	}
	return standard
}

// cpus returns the guest's number of CPUs, or its configured CPU limit, which may be a fraction.
func (g guest) cpus() float64 {
	if limit, err := strconv.ParseFloat(g.config["cpulimit"], 64); err == nil && limit > 0 {
		return limit
	}
	return float64(g.number("sockets", 1) * g.number("cores", 1))
}

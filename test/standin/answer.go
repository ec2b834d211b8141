package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// fields is a JSON object about a guest: its values by field name. Different guests have different
// fields.
type fields map[string]any

// list returns the answer to pvesh get /nodes/localhost/qemu and /nodes/localhost/lxc.
func (n node) list(kind string) ([]fields, error) {
	all := []fields{}
	for _, g := range n.guests {
		if g.kind == kind && g.node == n.name {
			all = append(all, n.entry(g))
		}
	}
	return all, nil
}

func (n node) entry(g guest) fields {
	pid := g.pid()
	f := fields{
		"status": "stopped", "name": g.name(), "cpu": 0, "cpus": g.cpus(), "uptime": 0,
		"mem": 0, "maxmem": g.number("memory", 512) << 20, "disk": 0, "maxdisk": 1 << 30,
		"netin": 0, "netout": 0, "diskread": 0, "diskwrite": 0,
	}
	if pid > 0 {
		f["status"], f["pid"], f["uptime"], f["mem"], f["cpu"] = "running", pid, uptime(pid), 64<<20, 0.0249060195469461
	}
	if n.unknown {
		f["status"] = "unknown"
	}
	// Until PVE 8.1, the list of containers had VMIDs as JSON strings.
	f["vmid"] = g.vmid
	if g.kind == "lxc" {
		f["vmid"], f["type"], f["swap"], f["maxswap"] = strconv.Itoa(g.vmid), "lxc", 0, g.number("swap", 512)<<20
	}
	if g.config["template"] == "1" {
		f["template"] = 1
	}
	for _, key := range []string{"lock", "tags"} {
		if v := g.config[key]; v != "" {
			f[key] = v
		}
	}
	return f
}

// current returns the answer to pvesh get /nodes/localhost/qemu/ID/status/current.
func (n node) current(id string) (fields, error) {
	for _, g := range n.guests {
		if g.kind != "qemu" || strconv.Itoa(g.vmid) != id || g.node != n.name {
			continue
		}
		f := n.entry(g)
		f["qmpstatus"] = f["status"]
		// QEMU reports its own state only while its process runs.
		text, err := os.ReadFile("/run/qemu-server/" + id + ".qmpstatus")
		if err == nil && f["status"] == "running" {
			f["qmpstatus"] = strings.TrimSpace(string(text))
		}
		f["ha"] = fields{"managed": 0}
		return f, nil
	}
	return nil, fmt.Errorf("configuration file 'nodes/%s/qemu-server/%s.conf' does not exist", n.name, id)
}

// resources returns the answer to pvesh get /cluster/resources. The status of guests on other nodes
// is unknown: on real nodes pvestatd broadcasts the status, but the lab has no pvestatd.
func (n node) resources(kind string) ([]fields, error) {
	all := []fields{}
	if kind == "" || kind == "node" {
		all = append(all, fields{"id": "node/" + n.name, "type": "node", "node": n.name, "status": "online"})
	}
	if kind != "" && kind != "vm" {
		return all, nil
	}
	for _, g := range n.guests {
		f := fields{"status": "unknown"}
		if g.node == n.name && !n.unknown {
			f = n.entry(g)
			delete(f, "pid")
			f["maxcpu"] = f["cpus"]
			delete(f, "cpus")
			f["template"] = g.number("template", 0)
		}
		f["id"], f["type"], f["vmid"], f["node"] = fmt.Sprintf("%s/%d", g.kind, g.vmid), g.kind, g.vmid, g.node
		all = append(all, f)
	}
	return all, nil
}

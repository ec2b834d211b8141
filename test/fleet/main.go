// Fleet lets a real Prometheus scrape many simulated nodes and prints a table of Prometheus'
// memory, disk space and processor time. Each simulated node is the real exporter over a
// simulated zfs.
//
// usage: fleet [-nodes N] [-disks N] [-interval TIME] [-for TIME] [-rules FILE]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// fleet holds the settings of the simulation. Every fifth node is a replica: the replica holds a
// quarter of the disks of each of the four nodes before it, and those four nodes are one cluster.
type fleet struct {
	nodes, disks int
	interval     time.Duration
	lasts        time.Duration
	rules        string
	dir          string
}

// perCluster is the number of nodes with guests in each simulated cluster; one replica receives the
// copies from these nodes.
const perCluster = 4

func main() {
	if filepath.Base(os.Args[0]) == "zfs" {
		os.Exit(zfs(os.Args[1:], time.Now()))
	}
	f := fleet{}
	flag.IntVar(&f.nodes, "nodes", 100, "how many nodes")
	flag.IntVar(&f.disks, "disks", 200, "how many disks each node has")
	flag.DurationVar(&f.interval, "interval", time.Minute, "how often Prometheus scrapes and evaluates its rules")
	flag.DurationVar(&f.lasts, "for", 10*time.Minute, "how long to measure")
	flag.StringVar(&f.rules, "rules", "deploy/prometheus/snapwatch.rules.yml", "the rules that Prometheus evaluates")
	flag.Parse()
	if err := f.play(); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func (f fleet) play() (err error) {
	if f.rules, err = filepath.Abs(f.rules); err != nil {
		return err
	}
	if f.dir, err = os.MkdirTemp("", "fleet"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(f.dir) }()
	url, err := f.serve()
	if err != nil {
		return err
	}
	p, err := f.prometheus(url)
	if err != nil {
		return err
	}
	defer p.end()
	return p.measure(f)
}

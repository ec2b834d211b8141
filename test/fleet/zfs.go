package main

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// zfs prints the output of zfs(8) for one simulated node. Environment variables contain the
// node's number and its number of disks. Every disk's newest snapshot is from the last full
// quarter of an hour.
func zfs(args []string, now time.Time) int {
	node, _ := strconv.Atoi(os.Getenv("FLEET_NODE"))
	disks, _ := strconv.Atoi(os.Getenv("FLEET_DISKS"))
	out := bufio.NewWriter(os.Stdout)
	defer func() { _ = out.Flush() }()
	made := now.Truncate(15 * time.Minute).UTC()
	snapshot := "autosnap_" + made.Format("2006-01-02_15:04:05") + "_frequently"
	if args[0] == "list" {
		for _, name := range args {
			if dataset, snap, ok := strings.Cut(name, "@"); ok {
				fmt.Fprintf(out, "%s\t%d\t%d\t%d\n", name, guid(dataset[strings.LastIndexByte(dataset, '/')+1:]+snap), made.Unix(), made.Unix())
			}
		}
		return 0
	}
	// get …  -o COLUMNS PROPERTIES ROOT...
	words := args[slices.Index(args, "-o")+2:]
	properties := strings.Split(words[0], ",")
	for _, root := range words[1:] {
		printDataset(out, root, "", properties, made)
	}
	for n := range disks {
		printDataset(out, dataset(node, n, disks), snapshot, properties, made)
	}
	return 0
}

// printDataset prints a dataset's properties. The argument `made` is the time at which the
// dataset's only snapshot was taken. If the argument `snapshot` is empty, the dataset has no
// snapshot.
func printDataset(out io.Writer, dataset, snapshot string, properties []string, made time.Time) {
	for _, p := range properties {
		value := "-"
		switch {
		case p == "guid":
			value = strconv.FormatUint(guid(dataset), 10)
		case p == "creation":
			value = strconv.FormatInt(made.Add(-240*time.Hour).Truncate(24*time.Hour).Unix(), 10)
		case p == "prevsnap" && snapshot != "":
			value = dataset + "@" + snapshot
		case p == "inconsistent", p == "written":
			value = "0"
		case p == "snapshots_changed" && snapshot != "":
			value = strconv.FormatInt(made.Unix(), 10)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t-\n", dataset, p, value)
	}
}

func guid(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// isReplica reports whether a simulated node only receives copies.
func isReplica(node int) bool { return node%(perCluster+1) == perCluster }

// cluster returns the cluster of a simulated node; for a replica, the cluster of the nodes whose
// disks it receives.
func cluster(node int) string { return fmt.Sprintf("c%d", node/(perCluster+1)) }

func poolOf(node int) string { return fmt.Sprintf("n%d", node) }

// dataset returns the dataset name of disk number n of a simulated node. A simulated replica has
// the first quarter of the disks of each node of its cluster.
func dataset(node, n, disks int) string {
	of := node
	parent := "data"
	if isReplica(node) {
		each := disks / perCluster
		of = node - perCluster + n/each%perCluster
		n %= each
		parent = poolOf(of)
	}
	return fmt.Sprintf("%s/%s/vm-%d-disk-0", poolOf(node), parent, 100000*(of+1)+n)
}

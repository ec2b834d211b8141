// Bench compares, in the lab's machine, the cost of scans and runs of snapwatch with the cost of
// other programs for the same purpose. All contenders work on one pool and take turns, because the
// machine is emulated and noisy. Bench prints tables and writes them to /out.
//
// usage: bench [DISKSxSNAPSHOTS...]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// usual are the levels that bench measures by default: the number of disks, and of snapshots of
// each disk.
var usual = []string{"20x10", "20x100", "20x200", "200x10", "20x1000"}

func main() {
	if err := bench(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// rig is the shared state of all measurements.
type rig struct {
	ctx      context.Context
	program  string
	page     strings.Builder
	exporter *exporter
	// counted holds the number of programs that a contender starts, by the number of disks and the
	// contender's name.
	counted map[string]int
}

func bench(ctx context.Context, levels []string) error {
	if len(levels) == 0 {
		levels = usual
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r := &rig{ctx: ctx, program: filepath.Join(filepath.Dir(self), "snapwatch"), counted: map[string]int{}}
	if err := r.prepare(); err != nil {
		return err
	}
	defer func() { r.exporter.end() }()
	var failed error
	for _, l := range levels {
		// If one level fails, the others are still measured.
		if err := r.level(l); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", l, err))
		}
		failed = errors.Join(failed, r.save())
	}
	return failed
}

func (r *rig) level(level string) error {
	var disks, snapshots int
	if _, err := fmt.Sscanf(level, "%dx%d", &disks, &snapshots); err != nil {
		return err
	}
	root := fmt.Sprintf("%s/%d", pool, disks)
	if err := r.fill(root, disks, snapshots); err != nil {
		return err
	}
	if err := r.scans(root, disks, snapshots); err != nil || snapshots != 100 {
		return err
	}
	return errors.Join(r.foreign(root, disks), r.runs(disks, snapshots))
}

// say prints a line and keeps it for the page.
func (r *rig) say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	fmt.Fprintf(&r.page, format+"\n", args...)
}

// save writes all lines so far into a file, so that a machine that is switched off early leaves the
// measurements up to then.
func (r *rig) save() error {
	if err := os.MkdirAll("/out", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/out/measured.md", []byte(r.page.String()), 0o644)
}

// Bench measures, in the lab's machine, what a scan and a run cost beside what else
// there is to do the same with: side by side on one pool, in turns, since the
// machine is emulated and noisy. It prints tables and writes them to /out.
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

// usual are the levels that are measured: disks and the snapshots that each has.
var usual = []string{"20x10", "20x100", "20x200", "200x10", "20x1000"}

func main() {
	if err := bench(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// rig is what the measurements share.
type rig struct {
	ctx      context.Context
	program  string
	page     strings.Builder
	exporter *exporter
	// counted are the programs that the ways start, by their names and the disks.
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
		// One level that fails costs the others nothing.
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

// say prints a line and keeps it.
func (r *rig) say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	fmt.Fprintf(&r.page, format+"\n", args...)
}

// save leaves what was said so far: a machine that is switched off early has
// measured something all the same.
func (r *rig) save() error {
	if err := os.MkdirAll("/out", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/out/measured.md", []byte(r.page.String()), 0o644)
}

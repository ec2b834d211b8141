// Bench compares, in the lab's machine, the cost of scans and runs of snapwatch with the cost of
// other programs that do the same work. All compared programs work on one pool and take turns,
// because the speed of the emulated machine varies. Bench prints tables and writes them to /out.
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

// usual lists the levels that bench measures by default. A level such as 20x100 means 20 disks with
// 100 snapshots each.
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
	// counted has, by the number of disks and the contender's name, the number of programs that a
	// contender starts.
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
		// If the measurement of one level fails, bench still measures the other levels.
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

// say prints a line and keeps the line for the file that save writes.
func (r *rig) say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	fmt.Fprintf(&r.page, format+"\n", args...)
}

// save writes all lines so far into a file: if the machine is switched off early, the finished
// measurements are in the file.
func (r *rig) save() error {
	if err := os.MkdirAll("/out", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/out/measured.md", []byte(r.page.String()), 0o644)
}

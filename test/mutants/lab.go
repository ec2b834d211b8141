package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// labMutant is a break of a channel program, with the end-to-end tests that must fail because of
// the break. These tests need ZFS.
type labMutant struct {
	mutant
	tests string
}

var labMutants = []labMutant{
	{mutant{"lua/snapshot.lua", `if guest.guard and zfs.exists(disk.name .. "/%recv") then return EBUSY end`, ``, "snapshot a disk that is being received"}, "TestProgramsGuard"},
	{mutant{"lua/snapshot.lua", `result[name].undone = zfs.sync.destroy(name .. "@" .. guest.name)`, ``, "keep a guest's first snapshot after the second failed"}, "TestNoSpace"},
	{mutant{"lua/snapshot.lua", "        return false\n      end\n      made", "        return true\n      end\n      made", "label a guest whose snapshot failed"}, "TestProgramsGuard"},
	{mutant{"lua/snapshot.lua", `if d.label ~= "" then`, `if false then`, "set no label"}, "TestLabelArrives"},
	{mutant{"lua/snapshot.lua", `d.label ~= "" then result[d.name].label = zfs.sync.set_prop(d.name, "label:running", d.label)`, `d.label ~= "" then result[d.name].label = zfs.sync.set_prop(d.name, "label:running", "stopped")`, "set the wrong label"}, "TestLabelArrives"},
	{mutant{"lua/snapshot.lua", `string.find(d.work, "b", 1, true) then`, `false then`, "make no bookmark"}, "TestReceivesFromABookmark"},
	{mutant{"lua/snapshot.lua", `r.marks[m.name] = zfs.sync.bookmark(m.dataset .. "@" .. m.name, m.dataset .. "#" .. m.name)`, `r.marks[m.name] = 0`, "report a bookmark that was not made"}, "TestRelay"},
	{mutant{"lua/snapshot.lua", `r[property] = value`, `r[property] = 1`, "report a wrong snapshot"}, "TestIndex"},
	{mutant{"lua/destroy.lua", `if not zfs.exists(disk.name .. "@" .. name) then return { missing = name } end`, ``, "destroy a snapshot whose keeper is gone"}, "TestProgramsGuard"},
	{mutant{"lua/destroy.lua", `if zfs.exists(disk.name .. "/%recv") then return { receiving = 1 } end`, ``, "destroy on a disk that is being received"}, "TestProgramsGuard"},
	{mutant{"lua/destroy.lua", `gone[name] = zfs.sync.destroy(disk.name .. "@" .. name)`, `gone[name] = 0`, "report a snapshot as destroyed that still exists"}, "TestKept"},
}

// labScript runs end-to-end tests with one broken channel program after another.
const labScript = `#!/bin/sh
mkdir /tmp/mutants && cp e2e.test standin /tmp/mutants || exit
failed=0
play() {
	cp -f $1 /tmp/mutants/snapwatch
	(cd /tmp/mutants && ./e2e.test -test.failfast -test.timeout 15m -test.run "^($2)\$" >/tmp/said 2>&1)
}
play snapwatch "$(cut -f2 mutants | sort -u | paste -sd '|')" || { cat /tmp/said; echo "the tests fail without any mutant"; exit 1; }
while IFS='	' read -r n tests what <&3; do
	if play snapwatch-$n "$tests"; then
		echo "$what: SURVIVED"
		failed=1
	else
		echo "$what: caught by $(sed -n 's/^ *--- FAIL: \([^ ]*\).*/\1/p' /tmp/said | head -n 1)"
	fi
done 3<mutants
exit $failed
`

// forLab writes snapwatch binaries with broken channel programs, and labScript, into a directory
// that already has the end-to-end tests and their files.
func forLab(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	tree, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tree) }()
	if err := copyTree(tree); err != nil {
		return err
	}
	var list strings.Builder
	var errs []error
	for i, m := range labMutants {
		errs = append(errs, m.build(tree, filepath.Join(dir, fmt.Sprintf("snapwatch-%d", i))))
		fmt.Fprintf(&list, "%d\t%s\t%s\n", i, m.tests, m.what)
	}
	return errors.Join(append(errs,
		os.WriteFile(filepath.Join(dir, "mutants"), []byte(list.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "run"), []byte(labScript), 0o755))...)
}

// build applies the mutant to a tree, and builds a snapwatch binary from the tree.
func (m mutant) build(tree, binary string) error {
	mend, err := m.apply(tree)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", m.file, m.what, err)
	}
	defer mend()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/snapwatch")
	cmd.Dir, cmd.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", m.what, err, out)
	}
	return nil
}

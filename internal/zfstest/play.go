package zfstest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// play prints and exits as zfs(8) does, for the command lines that snapwatch uses.
func play(argv []string) int {
	dir := os.Getenv(stateVariable)
	if len(argv) == 2 && argv[1] == "hang" {
		select {}
	}
	var w World
	text, err := os.ReadFile(filepath.Join(dir, "world"))
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the fake zfs has no world:", err)
		return 99
	}
	args := argv[1:]
	record(dir, "log", args)
	fault := w.fault(dir, args)
	if fault.Hang {
		hang(dir)
	}
	time.Sleep(fault.Takes)
	for fault.WaitFor != "" {
		if _, err := os.Stat(fault.WaitFor); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	w.stream(args)
	out, complaints, status := w.Answer(args)
	if fault.Output != "" {
		out = fault.Output
	}
	fmt.Print(fault.spoil(out))
	fmt.Fprint(os.Stderr, complaints, fault.Stderr)
	if fault.Exit != 0 {
		return fault.Exit
	}
	return status
}

func record(dir, name string, args []string) {
	log, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer func() { _ = log.Close() }()
	_, _ = fmt.Fprintln(log, strings.Join(args, " "))
}

// fault returns the first fault that applies to a call with the arguments args and that has not yet
// made all its Calls fail.
func (w World) fault(dir string, args []string) Fault {
	for i, f := range w.Faults {
		if slices.ContainsFunc(f.Words, func(word string) bool { return !strings.Contains(strings.Join(args, " "), word) }) {
			continue
		}
		if f.Calls == 0 || used(dir, i) < f.Calls {
			return f
		}
	}
	return Fault{}
}

// used adds 1 to the number of calls to which a fault applied, and returns the number before the
// addition.
func used(dir string, fault int) int {
	for n := 0; ; n++ {
		file, err := os.OpenFile(filepath.Join(dir, "calls", fmt.Sprintf("fault%d-%d", fault, n)), os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = file.Close()
			return n
		}
	}
}

// hang starts a process and waits for its end. The started process keeps the caller's files open,
// and a signal to the caller does not reach it.
func hang(dir string) {
	binary, err := os.Executable()
	if err != nil {
		return
	}
	cmd := exec.Command(binary, "hang")
	cmd.Args[0] = "zfs"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if inherited := os.NewFile(3, "inherited"); inherited != nil {
		if _, err := inherited.Stat(); err == nil {
			cmd.ExtraFiles = []*os.File{inherited}
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(dir, "calls", hungPrefix+strconv.Itoa(cmd.Process.Pid)), nil, 0o600)
	_ = cmd.Wait()
}

func (f Fault) spoil(out string) string {
	if f.DropRows > 0 {
		rows := strings.SplitAfter(strings.TrimSuffix(out, "\n"), "\n")
		out = strings.Join(rows[:max(0, len(rows)-f.DropRows)], "")
	}
	return out[:max(0, len(out)-f.CutBytes)]
}

// stream prints the snapshots that Dataset.Many adds to the listed datasets. stream prints them one
// by one, because one text with all snapshots would need much memory.
func (w World) stream(args []string) {
	options, names := split(args)
	if _, whole := options["-d"]; args[0] != "list" || options["-t"] != "snapshot" || !whole {
		return
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	columns := strings.Split(options["-o"], ",")
	for _, d := range w.Datasets {
		for i := 0; i < d.Many && slices.Contains(names, d.Name); i++ {
			s := Snapshot{Name: "syncoid_host_" + strconv.Itoa(i), GUID: uint64(i + 1), TXG: 0, Creation: int64(i)}
			_, _ = out.WriteString(s.row(d.Name+"@", columns) + "\n")
		}
	}
	_ = out.Flush()
}

// Answer returns the output, the error messages and the exit status of zfs for a command line
// without "zfs".
func (w World) Answer(args []string) (out, complaints string, status int) {
	options, names := split(args)
	if args[0] == "get" {
		return w.get(strings.Split(names[0], ","), names[1:], options)
	}
	return w.list(names, options)
}

// split separates the options of a zfs command line, with their values, from the other arguments.
func split(args []string) (options map[string]string, words []string) {
	options = map[string]string{}
	for i := 1; i < len(args); i++ {
		switch arg := args[i]; {
		case slices.Contains([]string{"-t", "-o", "-s", "-d"}, arg):
			i++
			options[arg] = args[i]
		case strings.HasPrefix(arg, "-"):
			options[arg] = ""
		default:
			words = append(words, arg)
		}
	}
	return options, words
}

func (w World) get(properties, roots []string, options map[string]string) (out, complaints string, status int) {
	for unknown, is := range map[string]bool{"snapshots_changed": w.NoSnapshotsChanged, "prevsnap": w.NoPrevsnap} {
		if is && slices.Contains(properties, unknown) {
			return "", "bad property list: invalid property '" + unknown + "'\nusage: …\n", 2
		}
	}
	if options["-t"] == "snapshot" {
		return w.getOfSnapshots(properties, roots, options)
	}
	var b strings.Builder
	for _, root := range roots {
		found := false
		for _, d := range w.Datasets {
			below := strings.HasPrefix(d.Name, root+"/")
			if _, all := options["-r"]; !all && below {
				below = options["-d"] == "1" && !strings.Contains(d.Name[len(root)+1:], "/")
			}
			if d.Name != root && !below {
				continue
			}
			found = found || d.Name == root
			for _, p := range properties {
				v := d.property(p)
				if p == "prevsnap" && w.OddPrevsnap {
					v = [3]string{"yes", "-", "-"}
				}
				cells := map[string]string{"name": d.Name, "property": p, "value": v[0], "received": v[1], "source": v[2]}
				var row []string
				for column := range strings.SplitSeq(options["-o"], ",") {
					row = append(row, cells[column])
				}
				b.WriteString(strings.Join(row, "\t") + "\n")
			}
		}
		if !found {
			complaints += fmt.Sprintf("cannot open '%s': dataset does not exist\n", root)
			status = 1
		}
	}
	return b.String(), complaints, status
}

// getOfSnapshots returns the output of zfs get for the named snapshots, or for all snapshots of a
// dataset.
func (w World) getOfSnapshots(properties, names []string, options map[string]string) (out, complaints string, status int) {
	var b strings.Builder
	for _, name := range names {
		dataset, snapshot, one := strings.Cut(name, "@")
		found := false
		for _, d := range w.Datasets {
			for _, s := range d.Snapshots {
				if d.Name != dataset || one && s.Name != snapshot {
					continue
				}
				found = true
				for _, p := range properties {
					cells := map[string]string{"name": d.Name + "@" + s.Name, "property": p, "value": "-", "source": "-"}
					if p != "snapwatch:config" {
						cells["value"] = s.row("", []string{p})
					} else if s.Config != "" {
						cells["value"], cells["source"] = s.Config, "local"
					}
					var row []string
					for column := range strings.SplitSeq(options["-o"], ",") {
						row = append(row, cells[column])
					}
					b.WriteString(strings.Join(row, "\t") + "\n")
				}
			}
			found = found || d.Name == dataset && !one
		}
		if !found {
			complaints += fmt.Sprintf("cannot open '%s': dataset does not exist\n", name)
			status = 1
		}
	}
	return b.String(), complaints, status
}

// property returns the value, the received value and the source of a dataset's property.
func (d Dataset) property(name string) [3]string {
	number := func(n uint64) [3]string { return [3]string{strconv.FormatUint(n, 10), "-", "-"} }
	none := [3]string{"-", "-", "-"}
	switch name {
	case "guid":
		return number(d.GUID)
	case "written":
		return number(1)
	case "creation":
		return number(uint64(d.Creation))
	case "origin":
		if d.Origin != "" {
			return [3]string{d.Origin, "-", "-"}
		}
	case "prevsnap":
		if n := len(d.Snapshots); n > 0 {
			newest := slices.MaxFunc(d.Snapshots, func(a, b Snapshot) int { return int(a.TXG) - int(b.TXG) })
			return [3]string{d.Name + "@" + newest.Name, "-", "-"}
		}
		if d.Origin != "" {
			return [3]string{d.Origin, "-", "-"}
		}
	case "inconsistent":
		if d.Receiving {
			return number(1)
		}
		return number(0)
	case "receive_resume_token":
		if d.Token {
			return [3]string{"1-abc", "-", "-"}
		}
	case "snapshots_changed":
		if d.Changed != 0 {
			return number(uint64(d.Changed))
		}
	}
	if v, ok := d.Labels[name]; ok {
		return v
	}
	return none
}

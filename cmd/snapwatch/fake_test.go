package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"snapwatch/internal/zfs"
)

// playPvesh plays the program pvesh. playPvesh prints the files in $WORK/pvesh: qemu.json,
// lxc.json, and VMID.json for a guest's status. If a file named fail exists, playPvesh fails and
// prints the file's text.
func playPvesh(args []string) int {
	dir := filepath.Join(os.Getenv("WORK"), "pvesh")
	logCall("pvesh", args)
	hangs("pvesh")
	if said, err := os.ReadFile(filepath.Join(dir, "fail")); err == nil {
		fmt.Fprint(os.Stderr, string(said))
		return 255
	}
	path := strings.Split(args[1], "/")
	if args[0] == "create" {
		return playAgent(filepath.Join(os.Getenv("WORK"), "agent", path[4]), path[6])
	}
	if path[len(path)-1] == "current" {
		text, err := os.ReadFile(filepath.Join(dir, path[len(path)-3]+".json"))
		if err != nil {
			text = []byte(`{"qmpstatus":"running"}`)
		}
		fmt.Print(string(text))
		return 0
	}
	text, err := os.ReadFile(filepath.Join(dir, path[len(path)-1]+".json"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Print(string(text))
	return 0
}

// playAgent plays a guest's agent. The file state has the state of the guest, frozen or thawed. If
// there is a file with the state file's name and .fail appended, freezing fails with the text of
// the file. If a file with the name of the state file plus .thaw exists, thawing fails.
func playAgent(state, what string) int {
	result := "0"
	is, err := os.ReadFile(state)
	if err != nil {
		fmt.Fprintln(os.Stderr, "QEMU guest agent is not running")
		return 255
	}
	said, err := os.ReadFile(state + map[string]string{"fsfreeze-freeze": ".fail", "fsfreeze-thaw": ".thaw"}[what])
	switch {
	case what == "fsfreeze-status":
		result = strconv.Quote(strings.TrimSpace(string(is)))
	case err == nil:
		result = `{"error":{"class":"GenericError","desc":` + strconv.Quote(strings.TrimSpace(string(said))) + `}}`
	default:
		to := map[string]string{"fsfreeze-freeze": "frozen", "fsfreeze-thaw": "thawed"}[what]
		if err := os.WriteFile(state, []byte(to), 0o644); err != nil {
			panic(err)
		}
		if to != strings.TrimSpace(string(is)) {
			result = "2" // the number of frozen file systems
		}
	}
	fmt.Printf(`{"result":%s}`, result)
	return 0
}

// playSystemctl plays systemctl show with the files in $WORK/systemd: one for each unit, and the
// file manager for systemd itself.
func playSystemctl(args []string) int {
	logCall("systemctl", args)
	hangs("systemctl")
	name := args[len(args)-1]
	if name == "SystemState" {
		name = "manager"
	}
	text, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), "systemd", name))
	if err != nil {
		text = []byte("LoadState=not-found\nActiveState=inactive\n")
	}
	fmt.Print(string(text))
	return 0
}

// playZpool plays zpool for a pool with the files in $WORK/zpool. The file with the pool's name has
// the inner part of the JSON that zpool status -j prints; a pool without such a file is healthy. In
// the JSON, the word NOW stands for the time in the environment variable NOW. The file NAME.size
// has the size and the allocated bytes of pool NAME.
func playZpool(args []string) int {
	logCall("zpool", args)
	hangs("zpool")
	pool := args[len(args)-1]
	read := func(name, usual string) string {
		text, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), "zpool", name))
		if err != nil {
			return usual
		}
		return strings.TrimSpace(string(text))
	}
	switch args[0] {
	case "status":
		said := read(pool, `"state":"ONLINE","error_count":"0","scan_stats":{"function":"SCRUB","state":"FINISHED","end_time":"NOW"}`)
		now, err := time.Parse(time.RFC3339, os.Getenv("NOW"))
		if err != nil {
			panic(err)
		}
		said = strings.ReplaceAll(said, "NOW", strconv.FormatInt(now.Unix(), 10))
		fmt.Printf(`{"pools":{%q:{%s,"vdevs":{%q:{"state":"ONLINE"}}}}}`+"\n", pool, said, pool)
	case "list":
		fmt.Println(pool + "\t" + strings.ReplaceAll(read(pool+".size", "1000 250"), " ", "\t"))
	default:
		fmt.Println("tank\tactive")
	}
	return 0
}

func logCall(program string, args []string) {
	log, err := os.OpenFile(filepath.Join(os.Getenv("WORK"), program+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(log, program, strings.Join(args, " "))
	_ = log.Close()
}

// playedDisk is a disk that the fake zfs program shows.
type playedDisk struct {
	name, running, received, nosnap, written, since, token, thick, available string
	// origin is the snapshot from which the disk was cloned. drill is the mark of a drill, with _ in
	// place of its blank. locked is the encryption root whose key is not loaded.
	origin, drill, locked string
}

// playedWorld has the disks, snapshots and bookmarks of the fake zfs, from the lines of
// $WORK/zfs/world, the oldest first: "disk NAME key=value…", "snap NAME@SNAPSHOT TIME", "mark
// NAME#SNAPSHOT TIME".
type playedWorld struct {
	disks []playedDisk
	rows  map[string][]string // the rows that zfs list prints, by kind and dataset
}

func readWorld() playedWorld {
	w := playedWorld{rows: map[string][]string{}}
	file, err := os.Open(filepath.Join(os.Getenv("WORK"), "zfs/world"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	made := map[string]int{} // the transaction group of a snapshot and its bookmark
	for txg := 1; lines.Scan(); txg++ {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) < 2:
		case f[0] == "disk":
			d := playedDisk{name: f[1], running: "-", received: "-", nosnap: "-", written: "0", since: "0", token: "-", thick: "0", available: "1000000", origin: "-", drill: "-", locked: "-"}
			for _, word := range f[2:] {
				key, value, _ := strings.Cut(word, "=")
				*map[string]*string{"running": &d.running, "received": &d.received, "nosnap": &d.nosnap, "written": &d.written, "since": &d.since, "token": &d.token, "thick": &d.thick, "available": &d.available, "origin": &d.origin, "drill": &d.drill, "locked": &d.locked}[key] = value
			}
			w.disks = append(w.disks, d)
		default:
			created, err := time.Parse(time.RFC3339, f[2])
			if err != nil {
				panic(err)
			}
			dataset, name := f[1][:strings.IndexAny(f[1], "@#")], f[1][strings.IndexAny(f[1], "@#")+1:]
			if made[dataset+name] == 0 {
				made[dataset+name] = txg
			}
			w.rows[f[0]+dataset] = append(w.rows[f[0]+dataset], fmt.Sprintf("%s\t%d\t%d\t%d", f[1], crc32.ChecksumIEEE([]byte(name)), made[dataset+name], created.Unix()))
		}
	}
	return w
}

// hangs blocks the played program as long as the file $WORK/hang/NAME exists.
func hangs(program string) {
	for {
		if _, err := os.Stat(filepath.Join(os.Getenv("WORK"), "hang", program)); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// playZFS answers the zfs command lines of snap and of the commands that only read, and records
// these command lines.
func playZFS(args []string) int {
	logCall("zfs", args)
	hangs("zfs")
	if args[0] == "program" {
		_ = os.WriteFile(filepath.Join(os.Getenv("WORK"), "zfs.program"), nil, 0o644)
	}
	hangs("zfs-" + args[0])
	w := readWorld()
	switch {
	case args[0] == "program":
		return playProgram(args)
	case args[0] == "get" && strings.HasPrefix(args[len(args)-2], "written@"):
		for _, d := range w.disks {
			if d.name == args[len(args)-1] {
				fmt.Println(d.since)
			}
		}
	case args[0] == "get" && args[3] == "name,property,received":
		// get -Hp -o COLUMNS PROPERTIES DATASET…
		w.playReceived(args[5:])
	case args[0] == "get" && args[3] == "name,property,value":
		// get -Hp -o COLUMNS PROPERTIES DATASET…
		for _, dataset := range args[5:] {
			for p := range strings.SplitSeq(args[4], ",") {
				value := map[string]string{"available": "21474836480"}[p]
				for _, d := range w.disks {
					if d.name == dataset && d.locked != "-" {
						value = cmp.Or(value, map[string]string{"encryptionroot": d.locked, "keystatus": "unavailable"}[p])
					}
				}
				fmt.Printf("%s\t%s\t%s\n", dataset, p, cmp.Or(value, "-"))
			}
		}
	case args[0] == "get" && args[3] == "snapshot":
		// get -Hp -t snapshot -o name,value,source PROPERTY SNAPSHOT…
		for _, name := range args[7:] {
			fmt.Printf("%s\t-\t-\n", name)
		}
	case args[0] == "get" && args[5] == "snapshot":
		w.playConfigs(args[len(args)-1])
	case args[0] == "get":
		// get -Hp -d 1 -t TYPES -o COLUMNS PROPERTIES PARENT…, or -r instead of -d 1
		below := func(dataset, parent string) bool { return zfs.Parent(dataset) == parent }
		if args[2] == "-r" {
			below, args = zfs.Within, append([]string{""}, args...)
		}
		return w.playGet(strings.Split(args[8], ","), args[9:], below)
	case args[0] == "list" && strings.HasSuffix(args[len(args)-1], "/%recv"):
		return playReceiving(args[4:])
	case args[0] == "list" && args[5] == "name,userrefs,clones":
		playPins(args[6:])
	case args[0] == "list" && args[2] == "-t":
		// list -Hp -t KIND -o COLUMNS SNAPSHOT…
		for _, name := range args[6:] {
			for _, row := range w.rows[map[string]string{"snapshot": "snap", "bookmark": "mark"}[args[3]]+name[:strings.IndexAny(name, "@#")]] {
				if strings.HasPrefix(row, name+"\t") {
					fmt.Println(row)
				}
			}
		}
	case args[0] == "list":
		// list -Hp -d 1 -t KIND -o COLUMNS -s createtxg DATASET…
		kind := map[string]string{"snapshot": "snap", "bookmark": "mark"}[args[5]]
		for _, dataset := range args[10:] {
			for _, row := range w.rows[kind+dataset] {
				fmt.Println(row)
			}
		}
	case args[0] == "version":
		fmt.Print("zfs-2.3.2-1\nzfs-kmod-2.3.2-1\n")
	case args[0] == "create", args[0] == "clone":
		return w.playMake(args)
	case args[0] == "destroy" && !strings.ContainsAny(args[1], "@#"):
		return playUnmake(args[1])
	case args[0] == "inherit", args[0] == "destroy", args[0] == "set":
	default:
		fmt.Fprintln(os.Stderr, "the fake zfs does not know", args)
		return 2
	}
	return 0
}

func (w playedWorld) playGet(properties, parents []string, below func(dataset, parent string) bool) int {
	status := 0
	for _, parent := range parents {
		shown := []playedDisk{{name: parent, running: "-", received: "-", nosnap: "-", written: "0"}}
		for _, d := range w.disks {
			if d.name != parent && below(d.name, parent) {
				shown = append(shown, d)
			}
		}
		if len(shown) == 1 {
			fmt.Fprintf(os.Stderr, "cannot open '%s': dataset does not exist\n", parent)
			status = 1
			continue
		}
		for i, d := range shown {
			for _, p := range properties {
				value, source := w.property(d, p, i)
				fmt.Printf("%s\t%s\t%s\t%s\n", d.name, p, value, source)
			}
		}
	}
	return status
}

// playReceiving plays zfs list of hidden datasets NAME/%recv. A hidden dataset exists if the file
// $WORK/zfs/receiving contains NAME, the dataset that is being received.
func playReceiving(hidden []string) int {
	text, _ := os.ReadFile(filepath.Join(os.Getenv("WORK"), "zfs/receiving"))
	status := 0
	for _, name := range hidden {
		if slices.Contains(strings.Fields(string(text)), strings.TrimSuffix(name, "/%recv")) {
			fmt.Println(name)
			continue
		}
		fmt.Fprintf(os.Stderr, "cannot open '%s': dataset does not exist\n", name)
		status = 1
	}
	return status
}

// playMake creates a dataset or a clone: a line in $WORK/zfs/world, and a file for the clone's
// device, with the content of the file $WORK/zfs/content.
func (w playedWorld) playMake(args []string) int {
	name := args[len(args)-1]
	if slices.ContainsFunc(w.disks, func(d playedDisk) bool { return d.name == name }) {
		fmt.Fprintf(os.Stderr, "cannot create '%s': dataset already exists\n", name)
		return 1
	}
	line := "disk " + name
	if args[0] == "clone" {
		mark := strings.TrimPrefix(args[len(args)-3], zfs.DrillMark+"=")
		line += " origin=" + args[len(args)-2] + " drill=" + strings.ReplaceAll(mark, " ", "_")
		device := filepath.Join(os.Getenv("WORK"), "dev/zvol", name)
		if err := os.MkdirAll(filepath.Dir(device), 0o755); err != nil {
			panic(err)
		}
		content, _ := os.ReadFile(filepath.Join(os.Getenv("WORK"), "zfs/content"))
		if err := os.WriteFile(device, content, 0o600); err != nil {
			panic(err)
		}
	}
	return changeWorld(func(lines []string) []string { return append(lines, line+"\n") })
}

// playUnmake removes the line of a dataset from $WORK/zfs/world.
func playUnmake(name string) int {
	return changeWorld(func(lines []string) []string {
		return slices.DeleteFunc(lines, func(line string) bool {
			f := strings.Fields(line)
			return len(f) > 1 && f[0] == "disk" && f[1] == name
		})
	})
}

// changeWorld changes the lines of $WORK/zfs/world in one step, because another fake zfs may be
// reading the file.
func changeWorld(change func(lines []string) []string) int {
	world := filepath.Join(os.Getenv("WORK"), "zfs/world")
	text, err := os.ReadFile(world)
	if err == nil {
		err = os.WriteFile(world+".new", []byte(strings.Join(change(strings.SplitAfter(string(text), "\n")), "")), 0o644)
	}
	if err == nil {
		err = os.Rename(world+".new", world)
	}
	if err != nil {
		panic(err)
	}
	return 0
}

// playGuestfish plays guestfish: it logs the script and prints a file. The file is
// $WORK/guestfish/list if the script lists file systems, and $WORK/guestfish/check for any other
// script.
func playGuestfish() int {
	script, _ := io.ReadAll(os.Stdin)
	logCall("guestfish", strings.Split(strings.TrimSpace(string(script)), "\n"))
	hangs("guestfish")
	name := "check"
	if strings.Contains(string(script), "list-filesystems") {
		name = "list"
	}
	dir := filepath.Join(os.Getenv("WORK"), "guestfish")
	text, _ := os.ReadFile(filepath.Join(dir, name))
	fmt.Print(string(text))
	if complaint, err := os.ReadFile(filepath.Join(dir, name+".fail")); err == nil {
		fmt.Fprint(os.Stderr, string(complaint))
		return 1
	}
	return 0
}

// playPins prints holds and clones of snapshots from $WORK/zfs/pins, in the form in which zfs
// prints them.
func playPins(names []string) {
	text, _ := os.ReadFile(filepath.Join(os.Getenv("WORK"), "zfs/pins"))
	for _, name := range names {
		row := name + "\t0\t-"
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); f[0] == name {
				row = strings.Join(f, "\t")
			}
		}
		fmt.Println(row)
	}
}

func (w playedWorld) playReceived(datasets []string) {
	for _, d := range w.disks {
		if slices.Contains(datasets, d.name) {
			fmt.Printf("%[1]s\t%[2]s\t%[3]s\n%[1]s\t%[4]s\t-\n%[1]s\tguid\t-\n", d.name, zfs.LabelRunning, d.received, zfs.LabelNoSnap)
		}
	}
}

// playConfigs plays zfs for the command guest-config: it prints the configurations that are stored
// on a dataset's snapshots. playConfigs reads the configurations from the files of $WORK/zfs/kept,
// which keepConfig wrote.
func (w playedWorld) playConfigs(dataset string) {
	text, _ := os.ReadFile(filepath.Join(os.Getenv("WORK"), "zfs/kept"))
	kept := map[string]string{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		kept[f[0]] = f[1]
	}
	for _, row := range w.rows["snap"+dataset] {
		f := strings.Split(row, "\t")
		value, source := "-", "-"
		if kept[f[0]] != "" {
			value, source = kept[f[0]], "received"
		}
		fmt.Printf("%[1]s\tcreatetxg\t%[3]s\t-\n%[1]s\tcreation\t%[4]s\t-\n%[1]s\t%[5]s\t%[6]s\t%[7]s\n%[1]s\tguid\t%[2]s\t-\n",
			f[0], f[1], f[2], f[3], zfs.GuestConfig, value, source)
	}
}

// keepConfig stores a guest's configuration with a snapshot, as the channel program does.
func keepConfig(snapshot, value string) {
	file, err := os.OpenFile(filepath.Join(os.Getenv("WORK"), "zfs/kept"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(file, snapshot, value)
	_ = file.Close()
}

func (w playedWorld) property(d playedDisk, property string, i int) (value, source string) {
	switch property {
	case "guid", "createtxg":
		return fmt.Sprint(100 + i), "-"
	case "creation":
		return "1750000000", "-"
	case "inconsistent":
		return "0", "-"
	case "written":
		return d.written, "-"
	case "refreservation":
		return d.thick, "-"
	case "available":
		return d.available, "-"
	case "receive_resume_token":
		return d.token, "-"
	case "origin":
		return d.origin, "-"
	case zfs.DrillMark:
		return strings.ReplaceAll(d.drill, "_", " "), sourceOf(d.drill)
	case "prevsnap":
		if rows := w.rows["snap"+d.name]; len(rows) > 0 {
			name, _, _ := strings.Cut(rows[len(rows)-1], "\t")
			return name, "-"
		}
	case zfs.LabelRunning:
		return d.running, sourceOf(d.running)
	case zfs.LabelNoSnap:
		return d.nosnap, sourceOf(d.nosnap)
	}
	return "-", "-"
}

func sourceOf(value string) string {
	if value == "-" {
		return "-"
	}
	return "local"
}

// namesBelow returns the entries of errnos whose names begin with prefix, and removes the prefix
// from the names.
func namesBelow(errnos map[string]syscall.Errno, prefix string) map[string]syscall.Errno {
	below := map[string]syscall.Errno{}
	for name, errno := range errnos {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			below[rest] = errno
		}
	}
	return below
}

// playProgram plays zfs program. Every step of the channel program succeeds, except a step on a
// dataset or snapshot that is listed in $WORK/zfs/errno. If the test made a file named answer,
// playProgram prints the text of this file and does nothing else. If the test made a file named
// fail, the channel program fails.
func playProgram(args []string) int {
	_, _ = io.Copy(io.Discard, os.Stdin)
	dir := filepath.Join(os.Getenv("WORK"), "zfs")
	if said, err := os.ReadFile(filepath.Join(dir, "fail")); err == nil {
		fmt.Fprint(os.Stderr, string(said))
		return 1
	}
	if text, err := os.ReadFile(filepath.Join(dir, "answer")); err == nil {
		fmt.Print(string(text))
		return 0
	}
	errnos := map[string]syscall.Errno{}
	text, _ := os.ReadFile(filepath.Join(dir, "errno"))
	for line := range strings.Lines(string(text)) {
		var name string
		var errno int
		if _, err := fmt.Sscan(line, &name, &errno); err == nil {
			errnos[name] = syscall.Errno(errno)
		}
	}
	result, marked := map[string]any{}, map[string]syscall.Errno{}
	words := args[4:]
	if words[0] == "guest" || words[0] == "mark" {
		name, config := "", ""
		for i := 0; i < len(words); {
			if words[i] == "config" {
				config = words[i+1]
				i += 2
				continue
			}
			if words[i] == "mark" {
				marked[words[i+1]+"#"+words[i+2]] = errnos[words[i+1]+"#"+words[i+2]]
				result[words[i+1]] = map[string]any{"marks": namesBelow(marked, words[i+1]+"#")}
				i += 3
				continue
			}
			if words[i] == "guest" {
				name = words[i+1]
				i += 3
				continue
			}
			done := map[string]syscall.Errno{}
			if strings.Contains(words[i+2], "s") {
				done["snapshot"] = errnos[words[i+1]]
			}
			if strings.Contains(words[i+2], "b") && done["snapshot"] == 0 {
				done["bookmark"] = 0
			}
			if words[i+3] != "=" && done["snapshot"] == 0 {
				done["label"] = 0
			}
			if strings.Contains(words[i+2], "c") && done["snapshot"] == 0 {
				done["config"] = errnos[words[i+1]+"@"+name]
				keepConfig(words[i+1]+"@"+name, config)
			}
			result[words[i+1]] = done
			i += 4
		}
	} else {
		dataset := ""
		for i := 0; i < len(words); i += 2 {
			switch words[i] {
			case "disk":
				dataset = words[i+1]
				result[dataset] = map[string]any{"gone": map[string]syscall.Errno{}}
			case "destroy", "check":
				gone := result[dataset].(map[string]any)["gone"].(map[string]syscall.Errno)
				gone[words[i+1]] = errnos[dataset+"@"+words[i+1]]
			}
		}
	}
	answer, err := json.Marshal(map[string]any{"return": result})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(answer))
	return 0
}

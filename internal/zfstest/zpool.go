package zfstest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// playZpool prints and exits as zpool(8) of OpenZFS 2.3 does, for the command lines that snapwatch
// uses. A fault applies to playZpool only if the word zpool is in the fault's Words.
func playZpool(args []string) int {
	dir := os.Getenv(stateVariable)
	var w World
	text, err := os.ReadFile(filepath.Join(dir, "world"))
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the fake zpool has no world:", err)
		return 99
	}
	record(dir, "zpool.log", args)
	w.Faults = slices.DeleteFunc(w.Faults, func(f Fault) bool { return !slices.Contains(f.Words, "zpool") })
	fault := w.fault(dir, append([]string{"zpool"}, args...))
	if fault.Hang {
		hang(dir)
	}
	fmt.Fprint(os.Stderr, fault.Stderr)
	if fault.Exit != 0 {
		return fault.Exit
	}
	pool := args[len(args)-1]
	switch strings.Join(args[:len(args)-1], " ") {
	case "status -j -p", "status -j -vp":
		said := w.Zpool[pool]
		if said == "" {
			said = `"state":"ONLINE","error_count":"0","scan_stats":{"function":"SCRUB","state":"FINISHED","start_time":"1774690000","end_time":"1774700000","errors":"0"}`
		}
		fmt.Printf(`{"pools":{%q:{%s,"vdevs":{%q:{"state":"ONLINE"}}}}}`+"\n", pool, said, pool)
	case "list -Hp -o name,size,allocated":
		fmt.Printf("%s\t1000\t250\n", pool)
	case "get -Hp -o value feature@head_errlog":
		fmt.Println("active")
	default:
		fmt.Fprintln(os.Stderr, "the fake zpool does not know", args)
		return 2
	}
	return 0
}

package zfs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// number is a number that zpool prints either as a JSON number or as a string.
type number uint64

// UnmarshalJSON implements [json.Unmarshaler].
func (n *number) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseUint(strings.Trim(string(text), `"`), 10, 64)
	*n = number(v)
	return err
}

// statusJSON is the output of `zpool status -j -p`, which exists since OpenZFS 2.3.
type statusJSON struct {
	// Version is the version of the output's format. All versions of OpenZFS up to 2.4 print the
	// major version 0.
	Version struct {
		Major number `json:"vers_major"`
	} `json:"output_version"`
	Pools map[string]*poolJSON `json:"pools"`
}

type poolJSON struct {
	State string    `json:"state"`
	Scan  *scanJSON `json:"scan_stats"`
	// Every output has Errors. List is an array of the files with errors, or a text with the reason
	// why zpool prints no array.
	Errors  *number             `json:"error_count"`
	List    json.RawMessage     `json:"errlist"`
	Devices map[string]vdevJSON `json:"vdevs"`
	Logs    map[string]vdevJSON `json:"logs"`
	Special map[string]vdevJSON `json:"special"`
	Dedup   map[string]vdevJSON `json:"dedup"`
	Cache   map[string]vdevJSON `json:"l2cache"`
	Spares  map[string]vdevJSON `json:"spares"`
}

type scanJSON struct {
	Function string `json:"function"`
	State    string `json:"state"`
	Start    number `json:"start_time"`
	End      number `json:"end_time"`
	Paused   number `json:"scrub_pause"`
	Errors   number `json:"errors"`
}

type vdevJSON struct {
	Name     string              `json:"name"`
	State    string              `json:"state"`
	Read     number              `json:"read_errors"`
	Write    number              `json:"write_errors"`
	Checksum number              `json:"checksum_errors"`
	Devices  map[string]vdevJSON `json:"vdevs"`
}

// parsePoolJSON parses the output of `zpool status -j -p`, with or without -v, for one pool.
func parsePoolJSON(text, pool string) (PoolHealth, error) {
	var status statusJSON
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return PoolHealth{}, unreadable("zpool status -j of pool %s: %w", pool, err)
	}
	p := status.Pools[pool]
	if p == nil || p.State == "" || p.Errors == nil || len(p.Devices) == 0 {
		return PoolHealth{}, unreadable("zpool status -j lacks the state, errors or devices of pool %s: %q", pool, text)
	}
	h := PoolHealth{State: stateInText(p.State), DataErrors: uint64(*p.Errors)}
	if v := status.Version.Major; v != 0 {
		h.Unknown = append(h.Unknown, fmt.Sprintf("output_version %d", v))
	}
	if p.Scan != nil {
		h.scanned(*p.Scan)
	}
	for _, group := range []map[string]vdevJSON{p.Devices, p.Logs, p.Special, p.Dedup, p.Cache, p.Spares} {
		h.look(group)
	}
	if p.List != nil && json.Unmarshal(p.List, &h.Damaged) != nil {
		h.Damaged = nil
	}
	return h, nil
}

// look adds to h.Devices each faulty device in the map, and each faulty device below those in the
// map. A faulty group comes before the devices in the group.
func (h *PoolHealth) look(devices map[string]vdevJSON) {
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		d := devices[name]
		device := Device{name, stateInText(d.State), uint64(d.Read), uint64(d.Write), uint64(d.Checksum)}
		if !device.well() {
			h.Devices = append(h.Devices, device)
		}
		h.look(d.Devices)
	}
}

func (h *PoolHealth) scanned(s scanJSON) {
	scan := PoolScan{Errors: uint64(s.Errors)}
	switch s.State {
	case "SCANNING":
		scan.State, scan.Start = ScanRunning, unix(s.Start)
		if s.Paused != 0 {
			scan.State = ScanPaused
		}
	case "FINISHED":
		scan.State, scan.Start, scan.End = ScanFinished, unix(s.Start), unix(s.End)
		if scan.End.IsZero() { // a scan without a time cannot count as recent
			h.Unknown = append(h.Unknown, "scan: "+s.Function+" "+s.State+" without a time")
			return
		}
	case "CANCELED":
		scan.State, scan.Start, scan.End = ScanCanceled, unix(s.Start), unix(s.End)
	case "NONE":
		return
	default:
		h.Unknown = append(h.Unknown, "scan: "+s.Function+" "+s.State)
		return
	}
	switch s.Function {
	case "SCRUB":
		h.Scrub = scan
	case "RESILVER":
		h.Resilver = scan
	case "NONE":
	default:
		h.Unknown = append(h.Unknown, "scan: "+s.Function+" "+s.State)
	}
}

func unix(n number) time.Time {
	if n == 0 || n > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0)
}

// zpool status has two words for a state: one in its text, which people know, and one in its JSON.
// stateInText returns the word of the text for the word in the JSON.
func stateInText(state string) string {
	if state == "CANT_OPEN" {
		return "UNAVAIL"
	}
	return state
}

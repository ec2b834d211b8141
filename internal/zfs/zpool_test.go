package zfs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

// statusOf returns the output of zpool status -p of a healthy pool, with some lines replaced.
func statusOf(state, scan, config, errs string) string {
	return "  pool: tank\n state: " + state + "\nstatus: One or more devices could not be used because the label is missing or\n" +
		"\tinvalid.  Sufficient replicas exist for the pool to continue\n\tfunctioning in a degraded state.\n" +
		"action: Replace the device using 'zpool replace'.\n   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-4J\n" +
		scan + "config:\n\n\tNAME               STATE     READ WRITE CKSUM\n" + config + "\n" + errs
}

const (
	wellDevices = "\ttank               ONLINE       0     0     0\n\t  /tmp/a b.vdev    ONLINE       0     0     0\n"
	noErrors    = "errors: No known data errors\n"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.DateTime, text)
	require.NoError(t, err)
	return when
}

func TestPoolStatusText(t *testing.T) {
	end, start := at(t, "2021-10-10 00:24:02"), at(t, "2021-10-09 23:24:02")
	finished := "  scan: scrub repaired 0B in 00:00:01 with 0 errors on Sun Oct 10 00:24:02 2021\n"
	for name, c := range map[string]struct {
		text string
		want PoolHealth
	}{
		"well": {statusOf("ONLINE", finished, wellDevices, noErrors),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanFinished, End: end}}},
		"never scrubbed, as of 2.0": {statusOf("ONLINE", "", wellDevices, noErrors), PoolHealth{State: "ONLINE"}},
		"never scrubbed":            {statusOf("ONLINE", "  scan: none requested\n", wellDevices, noErrors), PoolHealth{State: "ONLINE"}},
		"a scrub that found errors, and days": {
			statusOf("ONLINE", "  scan: scrub repaired 4K in 2 days 03:04:05 with 7 errors on Sun Oct 10 00:24:02 2021\n", wellDevices, "errors: 7 data errors, use '-v' for a list\n"),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanFinished, End: end, Errors: 7}, DataErrors: 7}},
		"a scrub under way": {
			statusOf("ONLINE", "  scan: scrub in progress since Sat Oct  9 23:24:02 2021\n\t1.2T scanned at 3G/s, 1T issued at 2G/s, 5T total\n\t0B repaired, 20.00% done, 00:30:00 to go\n", wellDevices, noErrors),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanRunning, Start: start}}},
		"a scrub that is paused": {
			statusOf("ONLINE", "  scan: scrub paused since Sun Oct 10 00:24:02 2021\n\tscrub started on Sat Oct  9 23:24:02 2021\n\t1T scanned, 1T issued, 5T total\n\t0B repaired, 20.00% done\n", wellDevices, noErrors),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanPaused, Start: start}}},
		"a scrub that was canceled": {
			statusOf("ONLINE", "  scan: scrub canceled on Sun Oct 10 00:24:02 2021\n", wellDevices, noErrors),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanCanceled, End: end}}},
		"a resilver, and one of a group after a scrub": {
			statusOf("DEGRADED", finished+"  scan: resilvered (mirror-0) 1.5G in 00:00:10 with 0 errors on Sun Oct 10 00:24:02 2021\n",
				"\ttank          DEGRADED     0     0     0\n\t  mirror-0    DEGRADED     0     0     0\n\t    sda       ONLINE       0     0     3\n\t    7246     UNAVAIL      0     0     0  was /dev/sdb1\n\tlogs\t\n\t  sdc         ONLINE       0     0     0\n\tspares\n\t  sdd         AVAIL   \n\t  sde         UNAVAIL   cannot open\n", noErrors),
			PoolHealth{State: "DEGRADED", Scrub: PoolScan{State: ScanFinished, End: end}, Resilver: PoolScan{State: ScanFinished, End: end}, Devices: []Device{
				{Name: "tank", State: "DEGRADED"}, {Name: "mirror-0", State: "DEGRADED"}, {Name: "sda", State: "ONLINE", Checksum: 3},
				{Name: "7246", State: "UNAVAIL"}, {Name: "sde", State: "UNAVAIL"},
			}}},
		"where the errors are": {
			statusOf("ONLINE", finished, wellDevices, "errors: Permanent errors have been detected in the following files:\n\n        tank/vm-100-disk-0@a:<0x1>\n        <metadata>:<0x3f>\n"),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanFinished, End: end}, DataErrors: 2, Damaged: []string{"tank/vm-100-disk-0@a:<0x1>", "<metadata>:<0x3f>"}}},
		"and where none has a place": {
			statusOf("ONLINE", finished, wellDevices, "errors: Permanent errors have been detected in the following files:\n\n"),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanFinished, End: end}, DataErrors: 1, Damaged: []string{}}},
		"a resilver of one group that was canceled": {
			statusOf("ONLINE", "  scan: resilver (mirror-0) canceled on Sun Oct 10 00:24:02 2021\n", wellDevices, noErrors),
			PoolHealth{State: "ONLINE", Resilver: PoolScan{State: ScanCanceled, End: end}}},
		"a scrub of the known errors only, which is no scrub of the pool": {
			statusOf("ONLINE", " scrub: scrubbed 3 error blocks in 0 days 00:00:02 on Sun Oct 10 00:24:02 2021\n", wellDevices, noErrors),
			PoolHealth{State: "ONLINE"}},
		"such a scrub under way": {
			statusOf("ONLINE", " scrub: error scrub in progress since Sun Oct 10 00:24:02 2021\n\t10.00% done, issued I/O for 3 error blocks\n", wellDevices, noErrors),
			PoolHealth{State: "ONLINE"}},
		"a device in a state that nobody knows": {
			statusOf("ONLINE", finished, "\ttank  ONLINE  0  0  0\n\t  sdb  SICK  0  7  0\n", noErrors),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanFinished, End: end}, Devices: []Device{{Name: "sdb", State: "SICK", Write: 7}}}},
		"files with line ends in their names": {
			statusOf("ONLINE", finished, wellDevices, "errors: Permanent errors have been detected in the following files:\n\n        tank/subvol-1-disk-0:/a\ntank/vm-100-disk-0:<0x1>\n        tank/subvol-1-disk-0:/b\nsee: this\n        tank/subvol-1-disk-0:/c\npool: other\n        tank/vm-2-disk-0:<0x1>\n"),
			PoolHealth{State: "ONLINE", Scrub: PoolScan{State: ScanFinished, End: end}, DataErrors: 4, Damaged: []string{
				"tank/subvol-1-disk-0:/a\ntank/vm-100-disk-0:<0x1>", "tank/subvol-1-disk-0:/b\nsee: this", "tank/subvol-1-disk-0:/c\npool: other", "tank/vm-2-disk-0:<0x1>",
			}}},
		"what nobody has seen": {
			statusOf("ONLINE", "  scan: scrub dreamt of on Sunday\nmood: blue\n", wellDevices+"\tsomething else\n", noErrors),
			PoolHealth{State: "ONLINE", Unknown: []string{"scan: scrub dreamt of on Sunday", "mood: blue", "something else"}}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := parsePoolStatus(c.text, "tank", time.UTC)
			require.NoError(t, err)
			assert.Equal(t, c.want, h)
		})
	}
	for name, text := range map[string]string{
		"nothing":         "",
		"another pool":    strings.Replace(statusOf("ONLINE", "", wellDevices, noErrors), "tank", "other", 1),
		"without errors":  statusOf("ONLINE", "", wellDevices, ""),
		"an odd count":    statusOf("ONLINE", "", wellDevices, "errors: many\n"),
		"without a state": strings.Replace(statusOf("ONLINE", "", wellDevices, noErrors), " state:", " mood:", 1),
	} {
		_, err := parsePoolStatus(text, "tank", time.UTC)
		require.ErrorIs(t, err, ErrOutput, name)
	}
}

func TestPoolStatusJSON(t *testing.T) {
	pool := func(more string) string {
		return `{"output_version":{"command":"zpool status","vers_major":0,"vers_minor":1},"pools":{"tank":{"name":"tank","type":"POOL","state":"DEGRADED","pool_guid":"1","txg":"9","error_count":"2",` + more +
			`"vdevs":{"tank":{"name":"tank","vdev_type":"root","state":"DEGRADED","read_errors":"0","write_errors":"0","checksum_errors":"0","vdevs":{
"/a":{"name":"a","state":"ONLINE","read_errors":"0","write_errors":"0","checksum_errors":"5"},"/b":{"name":"b","state":"ONLINE","read_errors":0,"write_errors":0,"checksum_errors":0}}}},
"logs":{"/c":{"name":"c","state":"CANT_OPEN","read_errors":"1","write_errors":"2","checksum_errors":"0"}}}}}`
	}
	devices := []Device{{Name: "tank", State: "DEGRADED"}, {Name: "/a", State: "ONLINE", Checksum: 5}, {Name: "/c", State: "UNAVAIL", Read: 1, Write: 2}}
	start, end := time.Unix(1700000000, 0), time.Unix(1700000100, 0)
	scan := func(function, state, paused string) string {
		return `"scan_stats":{"function":"` + function + `","state":"` + state + `","start_time":"1700000000","end_time":"1700000100","scrub_pause":"` + paused + `","errors":"3"},`
	}
	for name, c := range map[string]struct {
		text string
		want PoolHealth
	}{
		"never scrubbed":          {pool(`"scan_stats":{"function":"NONE","state":"NONE","start_time":"0","end_time":"0","errors":"0"},`), PoolHealth{}},
		"a scrub":                 {pool(scan("SCRUB", "FINISHED", "0")), PoolHealth{Scrub: PoolScan{ScanFinished, start, end, 3}}},
		"under way":               {pool(scan("SCRUB", "SCANNING", "0")), PoolHealth{Scrub: PoolScan{State: ScanRunning, Start: start, Errors: 3}}},
		"paused":                  {pool(scan("SCRUB", "SCANNING", "1700000050")), PoolHealth{Scrub: PoolScan{State: ScanPaused, Start: start, Errors: 3}}},
		"canceled":                {pool(scan("SCRUB", "CANCELED", "0")), PoolHealth{Scrub: PoolScan{ScanCanceled, start, end, 3}}},
		"a resilver":              {pool(scan("RESILVER", "FINISHED", "0")), PoolHealth{Resilver: PoolScan{ScanFinished, start, end, 3}}},
		"something new":           {pool(scan("DREAM", "FINISHED", "0")), PoolHealth{Unknown: []string{"scan: DREAM FINISHED"}}},
		"ended nobody knows when": {pool(strings.Replace(scan("SCRUB", "FINISHED", "0"), `"end_time":"1700000100"`, `"end_time":"0"`, 1)), PoolHealth{Unknown: []string{"scan: SCRUB FINISHED without a time"}}},
		"ended, in milliseconds":  {pool(strings.Replace(scan("RESILVER", "FINISHED", "0"), `1700000100"`, `1700000100000"`, 1)), PoolHealth{Unknown: []string{"scan: RESILVER FINISHED without a time"}}},
		"another format":          {strings.Replace(pool(""), `"vers_major":0`, `"vers_major":9`, 1), PoolHealth{Unknown: []string{"output_version 9"}}},
		"where":                   {pool(`"errlist":["tank/vm-1-disk-0:<0x1>"],`), PoolHealth{Damaged: []string{"tank/vm-1-disk-0:<0x1>"}}},
		"not for you":             {pool(`"errlist":"Operation not permitted",`), PoolHealth{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.State, c.want.DataErrors, c.want.Devices = "DEGRADED", 2, devices
			h, err := parsePoolJSON(c.text, "tank")
			require.NoError(t, err)
			assert.Equal(t, c.want, h)
		})
	}
	for _, text := range []string{"", "{}", `{"pools":{"tank":{"state":"ONLINE"}}}`, strings.Replace(pool(""), `"tank"`, `"other"`, 1), strings.Replace(pool(""), `"2"`, `"-2"`, 1)} {
		_, err := parsePoolJSON(text, "tank")
		require.ErrorIs(t, err, ErrOutput, text)
	}
}

// plays returns a Reader whose commands print the given answers. plays also returns a list, to
// which the Reader adds each command that it runs.
func plays(answers map[string]string) (Reader, *[]string) {
	var asked []string
	return Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		words := strings.Join(c.Argv, " ")
		asked = append(asked, words)
		text, is := answers[words]
		if !is {
			return errors.New("not played: " + words)
		}
		for line := range strings.Lines(text) {
			if err := each(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		return nil
	}}, &asked
}

func TestHealth(t *testing.T) {
	status := `{"pools":{"tank":{"state":"ONLINE","error_count":"0","vdevs":{"tank":{"state":"ONLINE"}}}}}`
	answers := map[string]string{
		"zpool status -j -p tank":                       status,
		"zpool list -Hp -o name,size,allocated tank":    "tank\t1000\t910\n",
		"zfs list -Hp -d 0 -o creation tank":            "1700000000\n",
		"zpool status -j -vp tank":                      status,
		"zpool list -Hp -o name,size,allocated strange": "strange\t1000\t1001\n",
		"zpool status -j -p strange":                    strings.ReplaceAll(status, "tank", "strange"),
	}
	r, asked := plays(answers)
	h, err := r.Health(t.Context(), "tank")
	require.NoError(t, err)
	assert.Equal(t, PoolHealth{State: "ONLINE", Size: 1000, Allocated: 910, Created: time.Unix(1700000000, 0)}, h)
	assert.Len(t, *asked, 3)

	_, err = r.Health(t.Context(), "strange")
	require.ErrorIs(t, err, ErrOutput, "more than there is")

	for scan, calls := range map[string]int{
		`"SCRUB","state":"FINISHED"`:    2,
		`"RESILVER","state":"FINISHED"`: 2,
		`"SCRUB","state":"CANCELED"`:    3,
		`"SCRUB","state":"SCANNING"`:    3,
		`"RESILVER","state":"CANCELED"`: 3,
	} {
		answers["zpool status -j -p tank"] = strings.Replace(status, `"error_count"`, `"scan_stats":{"function":`+scan+`,"end_time":"1700000100"},"error_count"`, 1)
		*asked = nil
		_, err = r.Health(t.Context(), "tank")
		require.NoError(t, err)
		assert.Len(t, *asked, calls, "%s: when the pool was made matters only where no scan has ended", scan)
	}
}

// Before OpenZFS 2.3, zpool status rejects -j and exits with the status for wrong usage.
func TestHealthFromText(t *testing.T) {
	r, asked := plays(map[string]string{
		"zpool status -p tank":                       statusOf("DEGRADED", "  scan: scrub repaired 0B in 00:00:01 with 0 errors on Sun Oct 10 00:24:02 2021\n", wellDevices, noErrors),
		"zpool list -Hp -o name,size,allocated tank": "tank\t1000\t910\n",
	})
	play, exit := r.Run, "2"
	r.Run = func(ctx context.Context, c command.Cmd, each func(string) error) error {
		if c.Argv[2] == "-j" {
			return command.Lines(ctx, command.Cmd{Argv: []string{"sh", "-c", "exit " + exit}}, each)
		}
		return play(ctx, c, each)
	}
	h, err := r.Health(t.Context(), "tank")
	require.NoError(t, err)
	assert.Equal(t, "DEGRADED", h.State)
	assert.Equal(t, time.Date(2021, 10, 10, 0, 24, 2, 0, time.Local), h.Scrub.End, "in the zone of this host")
	assert.Len(t, *asked, 2)

	exit = "1"
	_, err = r.Health(t.Context(), "tank")
	require.Error(t, err)
	assert.Len(t, *asked, 2, "another fault is not a lack of JSON")
}

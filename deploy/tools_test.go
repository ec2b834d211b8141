//go:build deploy

package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func tool(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	require.NoError(t, err, "%s:\n%s", strings.Join(argv, " "), out)
	return string(out)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// self returns the user who runs the tests. Icinga and Nagios run as the user who runs the tests,
// because their usual users could not read the test's directory.
func self(t *testing.T) (name, group string) {
	t.Helper()
	u, err := user.Current()
	require.NoError(t, err)
	g, err := user.LookupGroupId(u.Gid)
	require.NoError(t, err)
	return u.Username, g.Name
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	require.NoError(t, err)
	return full
}

func TestPrometheusAcceptsTheRules(t *testing.T) {
	for _, dir := range versions(t) {
		tool(t, dir+"promtool", "check", "rules", "--lint=all", "--lint-fatal", "prometheus/snapwatch.rules.yml")
		tool(t, dir+"promtool", "test", "rules", "prometheus/snapwatch.rules.test.yml", "prometheus/snapwatch.rules.long.test.yml")
	}
	scrapes, err := filepath.Glob("prometheus/scrape-*.yml")
	require.NoError(t, err)
	require.Len(t, scrapes, 3)
	for _, file := range scrapes {
		tool(t, "promtool", "check", "config", "--syntax-only", file)
	}
}

// versions returns the directories with Prometheus' programs: "" means the programs of this system.
// Nightly tests also use the programs of the next Debian.
func versions(t *testing.T) []string {
	t.Helper()
	if testing.Short() {
		return []string{""}
	}
	next, err := exec.Command("../tools/prometheus3").Output()
	require.NoError(t, err, "Debian's next Prometheus")
	return []string{"", strings.TrimSpace(string(next)) + "/"}
}

const inhibit = "alertmanager/snapwatch.inhibit.yml"

func TestAlertmanagerRoutes(t *testing.T) {
	tool(t, "amtool", "check-config", inhibit)
	for labels, receiver := range map[string]string{
		"alertname=SnapwatchLag severity=critical":  "page",
		"alertname=SnapwatchLag severity=warning":   "default",
		"alertname=SnapwatchWatchdog severity=none": "watchdog",
		"alertname=Other severity=critical":         "default",
	} {
		argv := append([]string{"amtool", "config", "routes", "test", "--config.file", inhibit, "--verify.receivers", receiver}, strings.Fields(labels)...)
		tool(t, argv...)
	}
}

type labels map[string]string

// pages returns the firing alerts that Alertmanager does not inhibit.
func pages(t *testing.T, api string, fires []labels, want int) []labels {
	t.Helper()
	var alerts []map[string]any
	for _, l := range fires {
		alerts = append(alerts, map[string]any{"labels": l})
	}
	body, err := json.Marshal(alerts)
	require.NoError(t, err)
	response, err := http.Post(api+"/alerts", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, 200, response.StatusCode)
	var active []labels
	// Alertmanager inhibits new alerts only after a short time.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		response, err := http.Get(api + "/alerts?inhibited=false")
		require.NoError(t, err)
		var got []struct{ Labels labels }
		require.NoError(t, json.NewDecoder(response.Body).Decode(&got))
		_ = response.Body.Close()
		active = nil
		for _, a := range got {
			active = append(active, a.Labels)
		}
		if len(active) == want {
			break
		}
	}
	return active
}

func alert(name, severity string, more ...string) labels {
	l := labels{"alertname": "Snapwatch" + name, "severity": severity, "job": "snapwatch"}
	for _, word := range more {
		key, value, _ := strings.Cut(word, "=")
		l[key] = value
	}
	return l
}

func TestOneFaultIsOnePage(t *testing.T) {
	c := func(more ...string) []string {
		return append([]string{"instance=c", "cluster=west", "site=vault", "pool=tank", "dataset=tank/vm-1-disk-0", "disk=vm-1-disk-0", "origin_cluster=east", "origin_dataset=rpool/vm-1-disk-0", "owner=no"}, more...)
	}
	target := []string{"instance=a", "cluster=east", "site=office"}
	a := slices.Concat(target, []string{"pool=rpool", "dataset=rpool/vm-1-disk-0", "disk=vm-1-disk-0", "origin_cluster=east", "origin_dataset=rpool/vm-1-disk-0", "owner=yes"})
	// In addition, node a has a copy of a disk of node b.
	copied := slices.Concat(target, []string{"pool=rpool", "dataset=rpool/vm-2-disk-0", "disk=vm-2-disk-0", "origin_cluster=east", "origin_dataset=rpool/vm-2-disk-0", "owner=no"})
	on := func(instance, cluster, site string, more ...string) []string {
		return append([]string{"instance=" + instance, "cluster=" + cluster, "site=" + site}, more...)
	}
	for name, test := range map[string]struct {
		fires []labels
		pages []string
	}{
		"replication died": {
			[]labels{alert("Lag", "critical", c()...), alert("Lag", "warning", c()...), alert("Stale", "critical", c()...), alert("Stale", "warning", c()...)},
			[]string{"Lag critical c"},
		},
		"only the warning so far": {[]labels{alert("Lag", "warning", c()...)}, []string{"Lag warning c"}},
		"replication died three hours before a shutdown": {
			[]labels{alert("Lag", "warning", c()...), alert("Stale", "critical", c()...), alert("Stale", "warning", c()...)},
			[]string{"Lag warning c", "Stale critical c"},
		},
		"the snapper died": {
			[]labels{alert("RunLate", "critical", target...), alert("Stale", "critical", a...), alert("Stale", "warning", a...), alert("Stale", "critical", c()...), alert("Stale", "warning", c()...)},
			[]string{"RunLate critical a"},
		},
		"the snapper died, and so did a neighbour's replication to this node": {
			[]labels{alert("RunLate", "critical", target...), alert("Stale", "critical", copied...), alert("Lag", "critical", copied...)},
			[]string{"RunLate critical a", "Lag critical a"},
		},
		"the snapper died, and a copy of a neighbour's guest is old": {
			[]labels{alert("RunLate", "critical", target...), alert("Stale", "critical", copied...), alert("Stale", "critical", c("disk=vm-2-disk-0", "origin_dataset=rpool/vm-2-disk-0")...)},
			[]string{"RunLate critical a", "Stale critical a", "Stale critical c"},
		},
		"another cluster's snapper died": {
			[]labels{alert("RunLate", "critical", on("z", "north", "office")...), alert("Stale", "critical", c()...)},
			[]string{"RunLate critical z", "Stale critical c"},
		},
		"the snapper of a node of the same name died": {
			[]labels{alert("RunLate", "critical", on("a", "north", "annex")...), alert("Stale", "critical", a...)},
			[]string{"RunLate critical a", "Stale critical a"},
		},
		"the snapper died, and replication too": {
			[]labels{alert("RunLate", "critical", target...), alert("Lag", "critical", c()...)},
			[]string{"RunLate critical a", "Lag critical c"},
		},
		"snap is not registered": {
			[]labels{alert("SnapNotRegistered", "critical", target...), alert("Stale", "critical", a...), alert("Stale", "critical", c()...)},
			[]string{"SnapNotRegistered critical a"},
		},
		"a pool is gone": {
			[]labels{alert("PoolUnreadable", "critical", on("c", "west", "vault", "pool=tank")...), alert("Missing", "critical", c()...), alert("DiskUnreadable", "warning", c()...)},
			[]string{"PoolUnreadable critical c"},
		},
		"a disk cannot be read for long": {
			[]labels{alert("DiskUnreadable", "critical", c()...), alert("DiskUnreadable", "warning", c()...), alert("Stale", "critical", c()...), alert("Stale", "warning", c()...)},
			[]string{"DiskUnreadable critical c"},
		},
		"an owner is silent for a day": {
			[]labels{alert("OwnerSilent", "critical", on("c", "west", "vault", "node=https://a")...), alert("OwnerSilent", "warning", on("c", "west", "vault", "node=https://a")...), alert("OwnerSilent", "warning", on("c", "west", "vault", "node=https://b")...)},
			[]string{"OwnerSilent critical c", "OwnerSilent warning c"},
		},
		"a disk is damaged": {
			[]labels{alert("Damaged", "critical", c()...), alert("PoolErrors", "critical", on("c", "west", "vault", "pool=tank")...), alert("PoolErrors", "warning", on("c", "west", "vault", "pool=tank")...)},
			[]string{"Damaged critical c"},
		},
		"nobody knows where a pool's errors are": {
			[]labels{alert("PoolErrors", "critical", on("c", "west", "vault", "pool=tank")...), alert("PoolErrors", "warning", on("c", "west", "vault", "pool=tank")...)},
			[]string{"PoolErrors critical c"},
		},
		"a disk is damaged, and another pool has errors": {
			[]labels{alert("Damaged", "critical", c()...), alert("PoolErrors", "critical", on("c", "west", "vault", "pool=other")...), alert("PoolErrors", "critical", on("c", "west", "annex", "pool=tank")...)},
			[]string{"Damaged critical c", "PoolErrors critical c", "PoolErrors critical c"},
		},
		"a pool is full": {
			[]labels{alert("PoolFull", "critical", on("c", "west", "vault", "pool=tank")...), alert("PoolFull", "warning", on("c", "west", "vault", "pool=tank")...), alert("PoolFull", "warning", on("c", "west", "vault", "pool=other")...)},
			[]string{"PoolFull critical c", "PoolFull warning c"},
		},
		"another pool is gone": {
			[]labels{alert("PoolUnreadable", "critical", on("c", "west", "vault", "pool=other")...), alert("Missing", "critical", c()...)},
			[]string{"PoolUnreadable critical c", "Missing critical c"},
		},
		"a pool is gone on a host of the same name": {
			[]labels{alert("PoolUnreadable", "critical", on("c", "west", "annex", "pool=tank")...), alert("Missing", "critical", c()...)},
			[]string{"PoolUnreadable critical c", "Missing critical c"},
		},
		"a clock is wrong": {
			[]labels{alert("ClockSkew", "warning", on("c", "west", "vault")...), alert("Stale", "warning", c()...), alert("Future", "warning", c("dataset=tank/vm-2-disk-0")...)},
			[]string{"ClockSkew warning c"},
		},
		"a clock is wrong, and a disk is too old": {
			[]labels{alert("ClockSkew", "warning", on("c", "west", "vault")...), alert("Stale", "critical", c()...)},
			[]string{"ClockSkew warning c", "Stale critical c"},
		},
		"one snapshot is from the future": {
			[]labels{alert("Future", "warning", c("dataset=tank/vm-2-disk-0")...), alert("Stale", "critical", c()...)},
			[]string{"Future warning c", "Stale critical c"},
		},
		"a node's exporter is down, and the neighbour's guest has no owner": {
			[]labels{alert("ExporterDown", "warning", target...), alert("LagNotMeasurable", "warning", "origin_cluster=east", "origin_dataset=rpool/vm-2-disk-0")},
			[]string{"ExporterDown warning a", "LagNotMeasurable warning "},
		},
		"a site is down": {
			[]labels{alert("ReplicationSiteDown", "critical", "site=vault"), alert("ReplicaExporterDown", "critical", on("c", "west", "vault")...)},
			[]string{"ReplicationSiteDown critical "},
		},
		"a site left": {
			[]labels{alert("ReplicationSiteDown", "critical", "site=vault"), alert("TargetGone", "critical", on("c", "west", "vault")...), alert("TargetGone", "warning", target...)},
			[]string{"ReplicationSiteDown critical ", "TargetGone warning a"},
		},
		"there are no targets": {
			[]labels{alert("NoTargets", "critical"), alert("ReplicationSiteDown", "critical", "site=vault"), alert("TargetGone", "critical", on("c", "west", "vault")...)},
			[]string{"NoTargets critical "},
		},
		"one disk stale, another lagging": {
			[]labels{alert("Stale", "critical", c()...), alert("Lag", "critical", c("dataset=tank/vm-2-disk-0")...)},
			[]string{"Stale critical c", "Lag critical c"},
		},
		"never snapshotted": {
			[]labels{alert("RunNever", "critical", target...), alert("Never", "critical", a...), alert("Never", "critical", copied...), alert("Never", "critical", c()...)},
			[]string{"RunNever critical a", "Never critical a", "Never critical c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, l := range pages(t, alertmanager(t), test.fires, len(test.pages)) {
				got = append(got, strings.TrimPrefix(l["alertname"], "Snapwatch")+" "+l["severity"]+" "+l["instance"])
			}
			assert.ElementsMatch(t, test.pages, got)
		})
	}
}

// alertmanager starts an Alertmanager with the shipped inhibition rules and returns the address
// of its API.
func alertmanager(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	cmd := exec.Command("prometheus-alertmanager", "--config.file="+inhibit, "--storage.path="+t.TempDir(),
		"--web.listen-address="+address, "--cluster.listen-address=")
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get("http://" + address + "/-/ready"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return "http://" + address + "/api/v2"
			}
		}
		require.True(t, time.Now().Before(end), "alertmanager is not ready: %s", &said)
	}
}

func TestIcingaAcceptsTheDefinitions(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir+"/icinga2.conf", fmt.Sprintf(`
const NodeName = "test"
include <itl>
include %q
object Host "c" {
  check_command = "dummy"
  vars.snapwatch = true
  vars.snapwatch_owners = [ "https://pve1.example:10191", "https://pve2.example:10191" ]
  vars.snapwatch_guests["mail"] = { snapwatch_vmid = 100 }
}
object Host "other" { check_command = "dummy" }
`, abs(t, "icinga2/snapwatch.conf")))
	name, group := self(t)
	t.Setenv("ICINGA2_USER", name)
	t.Setenv("ICINGA2_GROUP", group)
	out := tool(t, "icinga2", "daemon", "-C", "-c", config, "-D", "DataDir="+dir, "-D", "LogDir="+dir, "-D", "CacheDir="+dir, "-D", "InitRunDir="+dir)
	assert.Contains(t, out, "Instantiated 2 Services", out)
	assert.NotContains(t, out, "warning/", out)
}

func TestNagiosAcceptsTheDefinitions(t *testing.T) {
	dir := t.TempDir()
	objects := write(t, dir+"/objects.cfg", `
define timeperiod {
 timeperiod_name 24x7
 alias all
 sunday 00:00-24:00
}
define command {
 command_name none
 command_line /bin/true
}
define contact {
 contact_name root
 alias root
 host_notification_commands none
 service_notification_commands none
 host_notification_period 24x7
 service_notification_period 24x7
 host_notification_options d
 service_notification_options c
}
define contactgroup {
 contactgroup_name admins
 alias admins
 members root
}
define host {
 host_name c
 address 192.0.2.1
 hostgroups snapwatch-replicas
 check_command none
 max_check_attempts 1
 check_period 24x7
 contact_groups admins
 notification_interval 0
 notification_period 24x7
}
`)
	name, group := self(t)
	config := write(t, dir+"/nagios.cfg", strings.Join([]string{
		"cfg_file=" + objects, "cfg_file=" + abs(t, "nagios/snapwatch.cfg"), "log_file=" + dir + "/log", "object_cache_file=" + dir + "/cache",
		"status_file=" + dir + "/status", "temp_path=" + dir, "check_result_path=" + dir, "command_file=" + dir + "/cmd", "lock_file=" + dir + "/lock",
		"illegal_macro_output_chars=`~$&|<>", "nagios_user=" + name, "nagios_group=" + group, "",
	}, "\n"))
	out := tool(t, "nagios4", "-v", config)
	assert.Contains(t, out, "Checked 1 services", out)
	assert.Contains(t, out, "Total Warnings: 0", out)
}

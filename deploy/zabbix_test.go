package deploy_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// zabbixTrigger is a trigger of the Zabbix template, or a dependency of a trigger.
type zabbixTrigger struct {
	UUID, Expression, Name, Priority, URL, Description string
	Dependencies                                       []struct{ Name, Expression string }
	Tags                                               []struct{ Tag, Value string }
}

// zabbixItem is an item, an item prototype, or a discovery of the Zabbix template.
type zabbixItem struct {
	UUID, Name, Type, Key string
	Preprocessing         []struct {
		Type         string
		Parameters   []string
		ErrorHandler string `yaml:"error_handler"`
	}
	MasterItem        struct{ Key string }    `yaml:"master_item"`
	Triggers          []zabbixTrigger         `yaml:"triggers"`
	TriggerPrototypes []zabbixTrigger         `yaml:"trigger_prototypes"`
	ItemPrototypes    []zabbixItem            `yaml:"item_prototypes"`
	Macros            []struct{ Path string } `yaml:"lld_macro_paths"`
}

// zabbix is the template for Zabbix: its items, discoveries and triggers.
type zabbix struct {
	Version   string
	Templates []struct {
		UUID, Template string
		Items          []zabbixItem
		Discoveries    []zabbixItem `yaml:"discovery_rules"`
	}
	Triggers []zabbixTrigger
}

func zabbixTemplate(t *testing.T) (z zabbix, text string) {
	t.Helper()
	raw, err := os.ReadFile("zabbix/snapwatch.yaml")
	require.NoError(t, err)
	var file struct {
		Export zabbix `yaml:"zabbix_export"`
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	require.Len(t, file.Export.Templates, 1)
	return file.Export, string(raw)
}

// items returns all items and discoveries of the template by key, with the item prototypes of the
// discoveries.
func (z zabbix) items() map[string]zabbixItem {
	all := map[string]zabbixItem{}
	for _, i := range slices.Concat(z.Templates[0].Items, z.Templates[0].Discoveries) {
		all[i.Key] = i
		for _, p := range i.ItemPrototypes {
			all[p.Key] = p
		}
	}
	return all
}

// triggers returns all triggers and trigger prototypes of the template.
func (z zabbix) triggers() (all []zabbixTrigger) {
	all = slices.Clone(z.Triggers)
	for _, i := range z.items() {
		all = append(all, slices.Concat(i.Triggers, i.TriggerPrototypes)...)
	}
	return all
}

// Each item of the Zabbix template must read an existing metric of the exporter, by labels and
// states that the metric has.
func TestTheZabbixTemplateReadsMetricsThatThereAre(t *testing.T) {
	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	labels := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(snapwatch_\\w+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		labels[m[1]] = m[2]
	}
	served, err := os.ReadFile("../exporter/testdata/metrics.prom")
	require.NoError(t, err)
	z, text := zabbixTemplate(t)
	assert.Equal(t, "6.0", z.Version)
	pattern := regexp.MustCompile(`^(snapwatch_\w+)(?:\{([^}]*(?:\{#\w+\}[^}]*)*)\})?(?: == [12])?$`)
	read := 0
	for key, i := range z.items() {
		if key == "snapwatch.metrics" {
			continue
		}
		assert.Equal(t, "snapwatch.metrics", i.MasterItem.Key, key)
		require.NotEmpty(t, i.Preprocessing, key)
		step := i.Preprocessing[0]
		m := pattern.FindStringSubmatch(step.Parameters[0])
		require.NotNil(t, m, step.Parameters[0])
		require.Contains(t, labels, m[1], key)
		named := regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1)
		if len(step.Parameters) == 3 && step.Parameters[1] == "label" {
			named = append(named, []string{"", step.Parameters[2]})
		}
		for _, more := range i.Preprocessing[1:] {
			if label, is := strings.CutPrefix(more.Parameters[0], "$[*].labels."); is {
				named = append(named, []string{"", label})
			}
		}
		for _, macro := range i.Macros {
			named = append(named, regexp.MustCompile(`^\$\.labels\['(\w+)'\]$`).FindStringSubmatch(macro.Path))
		}
		for _, label := range named {
			assert.Contains(t, labels[m[1]], "`"+label[1]+"`", key)
		}
		read++
	}
	assert.Greater(t, read, 25)
	for _, m := range regexp.MustCompile(`snapwatch\.(pool|guest|disk)\.(?:state|pool)\[[^\]]*\],#?\w+,"(?:ne|like)","(\w+)"`).FindAllStringSubmatch(text, -1) {
		assert.Contains(t, string(served), fmt.Sprintf(`state=%q`, m[2]), m[1])
	}
}

// onlyPrometheus has, by alert, the reason why the Zabbix template lacks the alert, for example
// that a single host cannot evaluate the alert.
var onlyPrometheus = map[string]string{
	"SnapwatchLagNotMeasurable":    "owners: says it",
	"SnapwatchCopyMissing":         "compares sites; SnapwatchAbsent asks the owner",
	"SnapwatchNoDisks":             "check says it; a discovery that finds nothing is not an event",
	"SnapwatchReplicaExporterDown": "the same as SnapwatchExporterDown",
	"SnapwatchReplicationSiteDown": "compares sites",
	"SnapwatchTargetGone":          "of Prometheus' targets",
	"SnapwatchTargetAmbiguous":     "of Prometheus' targets",
	"SnapwatchFederationDown":      "of Prometheus",
	"SnapwatchNoTargets":           "of Prometheus' targets",
	"SnapwatchWatchdog":            "of Prometheus",
}

// For each fault that the metrics of one host show, the Zabbix template must have the same alert
// as the Prometheus rules, with the same severity.
func TestTheZabbixTemplateHasTheRules(t *testing.T) {
	alerts, _ := rules(t)
	severities := map[string][]string{}
	for _, a := range alerts {
		if onlyPrometheus[a.Alert] == "" {
			severities[a.Alert] = []string{a.Labels["severity"]}
			if a.Labels["severity"] == "" {
				severities[a.Alert] = []string{"critical", "warning"}
			}
		}
	}
	// The Zabbix template cannot know which hosts are replicas.
	severities["SnapwatchExporterDown"] = []string{"critical"}
	got := map[string][]string{}
	priority := map[string]string{"HIGH": "critical", "WARNING": "warning"}
	z, _ := zabbixTemplate(t)
	for _, trigger := range z.triggers() {
		require.Len(t, trigger.Tags, 1, trigger.Name)
		alert := trigger.Tags[0].Value
		got[alert] = append(got[alert], priority[trigger.Priority])
		assert.Equal(t, homepage+"/docs/alerts.md#"+strings.ToLower(alert), trigger.URL)
	}
	for _, alert := range slices.Sorted(maps.Keys(severities)) {
		assert.ElementsMatch(t, severities[alert], got[alert], alert)
		delete(got, alert)
	}
	assert.Empty(t, got, "not among the rules")
}

// Every item in an expression of the Zabbix template, and every trigger in a dependency, must
// exist. One fault must raise one event: all triggers depend on the trigger for an exporter that
// does not answer, and the trigger of a warning depends on the trigger of the critical event.
func TestTheZabbixTemplateIsWhole(t *testing.T) {
	z, text := zabbixTemplate(t)
	items := z.items()
	known := map[string]bool{}
	byName := map[string]zabbixTrigger{}
	for _, trigger := range z.triggers() {
		known[trigger.Name+"\n"+trigger.Expression] = true
		require.NotContains(t, byName, trigger.Name)
		byName[trigger.Name] = trigger
	}
	prefix := regexp.MustCompile(`/` + z.Templates[0].Template + `/(snapwatch\.[a-z.]+(?:\[[^\]]*\])?)`)
	for _, trigger := range z.triggers() {
		keys := prefix.FindAllStringSubmatch(trigger.Expression, -1)
		assert.NotEmpty(t, keys, trigger.Expression)
		for _, m := range keys {
			assert.Contains(t, items, m[1], trigger.Name)
		}
		var on []string
		for _, d := range trigger.Dependencies {
			on = append(on, d.Name)
			assert.True(t, known[d.Name+"\n"+d.Expression], "%s depends on %s, which is not there", trigger.Name, d.Name)
		}
		if trigger.Tags[0].Value != "SnapwatchExporterDown" {
			assert.Contains(t, on, "Snapwatch: the exporter does not answer", trigger.Name)
		}
		if severe, is := strings.CutSuffix(trigger.Name, " (warning)"); is {
			assert.Contains(t, on, severe)
		}
	}
	uuids := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)uuid: (\S+)$`).FindAllStringSubmatch(text, -1) {
		assert.Regexp(t, `^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$`, m[1], "Zabbix takes only version 4")
		assert.False(t, uuids[m[1]], m[1])
		uuids[m[1]] = true
	}
}

// A readable pool with other faults must not suppress events about its disks. A state of a pool
// must mean "unreadable" in the Zabbix template if and only if it does in the Prometheus rules.
func TestTheZabbixTemplateTakesAPoolForUnreadableAsTheRulesDo(t *testing.T) {
	alerts, _ := rules(t)
	i := slices.IndexFunc(alerts, func(a rule) bool { return a.Alert == "SnapwatchPoolUnreadable" })
	require.GreaterOrEqual(t, i, 0)
	states := regexp.MustCompile(`state=~"([^"]+)"`).FindStringSubmatch(alerts[i].Expr)
	require.NotNil(t, states)
	z, _ := zabbixTemplate(t)
	ofDisk := regexp.MustCompile(`snapwatch\.disk\.pool\[[^\]]*\]([^ ]*)`)
	var disks, pools []string
	for _, trigger := range z.triggers() {
		alert := trigger.Tags[0].Value
		for _, m := range ofDisk.FindAllStringSubmatch(trigger.Expression, -1) {
			assert.Equal(t, `,#1,"regexp","`+states[1]+`")=0`, m[1], trigger.Name)
			disks = append(disks, alert)
		}
		if alert == "SnapwatchPoolUnreadable" {
			all := regexp.MustCompile(`"regexp","([^"]+)"`).FindAllStringSubmatch(trigger.Expression, -1)
			for _, m := range all {
				assert.Equal(t, states[1], m[1])
				pools = append(pools, m[1])
			}
		}
	}
	assert.ElementsMatch(t, []string{"SnapwatchMissing", "SnapwatchDiskUnreadable", "SnapwatchDiskUnreadable"}, disks)
	assert.NotEmpty(t, pools)
}

// If an item gets no value any more, Zabbix does not evaluate the item's trigger, so the trigger's
// event would remain open for ever. A trigger's event must end when the item gets no value any
// more, because an alert of Prometheus also ends then. Before a trigger ends its event, it waits
// longer than the trigger "the exporter does not answer", which keeps open events unchanged while
// the exporter is down.
func TestAZabbixEventEndsWhenItsValueIsGone(t *testing.T) {
	z, _ := zabbixTemplate(t)
	items := z.items()
	read := regexp.MustCompile(`(?:min|max)\((/Snapwatch by HTTP/(snapwatch\.[a-z.]+(?:\[[^\]]*\])?)),`)
	var seen []string
	for _, trigger := range z.triggers() {
		for _, m := range read.FindAllStringSubmatch(trigger.Expression, -1) {
			if len(items[m[2]].Preprocessing) == 1 && items[m[2]].Preprocessing[0].ErrorHandler == "DISCARD_VALUE" {
				seen = append(seen, trigger.Name)
				assert.Contains(t, trigger.Expression, " and nodata("+m[1]+",15m)=0", trigger.Name)
			}
		}
	}
	assert.Contains(t, seen, "Snapwatch: {#DATASET} is behind its owner")
	assert.Contains(t, seen, "Snapwatch: {#DATASET} is behind its owner (warning)")
}

// Package deploy_test checks the files that are shipped for monitoring systems. With the build tag
// deploy, the tests also run the monitoring systems' own checkers: make check-deploy.
package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

type rule struct {
	Alert       string
	Record      string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) (alerts []rule, text string) {
	t.Helper()
	raw, err := os.ReadFile("prometheus/snapwatch.rules.yml")
	require.NoError(t, err)
	var file struct{ Groups []struct{ Rules []rule } }
	require.NoError(t, yaml.Unmarshal(raw, &file))
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			}
		}
	}
	require.NotEmpty(t, alerts)
	return alerts, string(raw)
}

// homepage is the placeholder in shipped files that tools/homepage replaces with the project's
// address.
const homepage = "https://snapwatch.example"

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../docs/alerts.md")
	require.NoError(t, err)
	alerts, _ := rules(t)
	var names []string
	for _, a := range alerts {
		names = append(names, a.Alert)
		assert.NotContains(t, a.Annotations["summary"], "{{", "%s: the summary is static", a.Alert)
		assert.NotEmpty(t, a.Annotations["summary"], a.Alert)
		assert.NotEmpty(t, a.Annotations["description"], a.Alert)
		assert.Equal(t, homepage+"/docs/alerts.md#"+strings.ToLower(a.Alert), a.Annotations["runbook_url"])
		if severity := a.Labels["severity"]; severity != "" {
			assert.Contains(t, []string{"critical", "warning", "info", "none"}, severity, a.Alert)
			assert.Equal(t, a.Alert == "SnapwatchWatchdog", severity == "none", "%s: what always fires is not a message, and everything else is one", a.Alert)
		} else {
			fromLimit := strings.Contains(a.Expr, "snapwatch_disk_limit_seconds") || strings.Contains(a.Expr, `"severity", "critical"`) ||
				strings.Contains(a.Expr, "snapwatch_absent_disks")
			assert.True(t, fromLimit, "%s: the severity comes from the expression", a.Alert)
		}
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, m[1])
	}
	assert.ElementsMatch(t, names, headings, "a runbook for every alert, and none else")
}

// Every alert must fire in the test world of simulated series, or must have a separate test.
func TestEveryAlertIsTestedToFire(t *testing.T) {
	world, err := os.ReadFile("ruleworld_test.go")
	require.NoError(t, err)
	alone, err := os.ReadFile("prometheus/snapwatch.rules.test.yml")
	require.NoError(t, err)
	long, err := os.ReadFile("prometheus/snapwatch.rules.long.test.yml")
	require.NoError(t, err)
	alerts, _ := rules(t)
	for _, a := range alerts {
		switch a.Alert {
		case "SnapwatchNoTargets", "SnapwatchWatchdog", "SnapwatchPoolFilling": // tested in the .test.yml files; the last alert needs days
			assert.True(t, strings.Contains(string(alone)+string(long), `{labels: '{alertname="`+a.Alert+`"`), a.Alert)
		default:
			short := strings.TrimPrefix(a.Alert, "Snapwatch")
			assert.True(t, strings.Contains(string(world), `"`+short+`"`) || strings.Contains(string(world), `"`+a.Alert+`"`), "no world has %s", a.Alert)
		}
	}
}

// By the rules of Alertmanager, no warning inhibits an alert that pages, and the fault of a node
// does not inhibit alerts about the disks of another node.
func TestInhibitionsSilenceNoPageByAWarning(t *testing.T) {
	raw, err := os.ReadFile("alertmanager/snapwatch.inhibit.yml")
	require.NoError(t, err)
	var file struct {
		InhibitRules []struct {
			SourceMatchers []string `yaml:"source_matchers"`
			Equal          []string
		} `yaml:"inhibit_rules"`
	}
	require.NoError(t, yaml.Unmarshal(raw, &file))
	require.NotEmpty(t, file.InhibitRules)
	for _, r := range file.InhibitRules {
		bySeverity := slices.Contains(r.SourceMatchers, "severity = critical") || slices.Contains(r.Equal, "severity")
		assert.True(t, bySeverity, "%v", r)
		has := func(keys ...string) bool {
			return !slices.ContainsFunc(keys, func(key string) bool { return !slices.Contains(r.Equal, key) })
		}
		sameThing := has("job", "cluster", "site", "instance") || has("origin_cluster", "origin_dataset", "disk")
		whole := has("job") && !has("instance") && !has("severity") && slices.ContainsFunc(r.SourceMatchers, func(m string) bool {
			return m == "alertname = SnapwatchNoTargets" || (m == "alertname = SnapwatchReplicationSiteDown" && has("site"))
		})
		assert.True(t, sameThing || whole, "%v", r)
	}
}

// The description of an alert about a disk must contain the command that explains the disk.
func TestAlertsAboutADiskNameExplain(t *testing.T) {
	alerts, _ := rules(t)
	named := 0
	for _, a := range alerts {
		text := a.Annotations["description"]
		if strings.Contains(text, "On that host: snapwatch") && strings.Contains(text, "{{ $labels.dataset }} on") {
			named++
			assert.Contains(t, text, "snapwatch explain {{ $labels.dataset }}", a.Alert)
		}
	}
	assert.GreaterOrEqual(t, named, 5)
}

// The alert rules may read only metrics that the exporter serves.
func TestRulesReadMetricsThatThereAre(t *testing.T) {
	metrics, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	alerts, text := rules(t)
	require.NotEmpty(t, alerts)
	for _, name := range regexp.MustCompile(`\bsnapwatch_\w+`).FindAllString(text, -1) {
		assert.Contains(t, string(metrics), "`"+name+"`")
	}
}

// Package deploy_test checks what is shipped for monitoring systems. With the build
// tag deploy it runs their own checkers, too: make check-deploy.
package deploy_test

import (
	"os"
	"regexp"
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
		assert.Equal(t, "docs/alerts.md#"+strings.ToLower(a.Alert), a.Annotations["runbook_url"])
		if severity := a.Labels["severity"]; severity != "" {
			assert.Contains(t, []string{"critical", "warning", "info"}, severity, a.Alert)
		} else {
			assert.Contains(t, a.Expr, "snapwatch_disk_limit_seconds", "%s: the severity comes from the limit", a.Alert)
		}
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(page), -1) {
		headings = append(headings, m[1])
	}
	assert.ElementsMatch(t, names, headings, "a runbook for every alert, and none else")
}

func TestEveryAlertIsTestedToFire(t *testing.T) {
	tests := ""
	for _, file := range []string{"prometheus/snapwatch.rules.test.yml", "prometheus/snapwatch.rules.long.test.yml"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		tests += string(text)
	}
	alerts, _ := rules(t)
	for _, a := range alerts {
		if a.Alert != "SnapwatchWatchdog" {
			assert.Contains(t, tests, `{labels: '{alertname="`+a.Alert+`"`, "no test expects %s", a.Alert)
		}
	}
}

// Whoever gets an alert about a disk is told the command that explains it.
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

// The rules read only metrics that the exporter has.
func TestRulesReadMetricsThatThereAre(t *testing.T) {
	metrics, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	alerts, text := rules(t)
	require.NotEmpty(t, alerts)
	for _, name := range regexp.MustCompile(`\bsnapwatch_\w+`).FindAllString(text, -1) {
		assert.Contains(t, string(metrics), "`"+name+"`")
	}
}

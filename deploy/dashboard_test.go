package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// panel is the part of a Grafana panel's JSON that the tests read.
type panel struct {
	Type, Title, Description string
	Targets                  []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("grafana/snapwatch.json")
	require.NoError(t, err)
	var board struct{ Panels []panel }
	require.NoError(t, json.Unmarshal(text, &board))
	require.NotEmpty(t, board.Panels)
	return board.Panels
}

// queries returns the Prometheus expressions of the dashboard by panel, with All selected in
// every variable.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			all[p.Title+": "+target.Expr] = strings.NewReplacer("$site", ".*", "$vmid", ".*").Replace(target.Expr)
		}
	}
	return all
}

func TestThePanelsSayWhatTheyShow(t *testing.T) {
	for _, p := range panels(t) {
		assert.NotEmpty(t, p.Title)
		if p.Type != "row" {
			assert.NotEmpty(t, p.Description, p.Title)
			assert.NotEmpty(t, p.Targets, p.Title)
		}
	}
}

// The dashboard may read only metrics of the exporter, and series that our recording rules make.
func TestTheDashboardReadsMetricsThatThereAre(t *testing.T) {
	metrics, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	_, text := rules(t)
	for name, q := range queries(t) {
		for _, metric := range regexp.MustCompile(`\bsnapwatch[_:][\w:]+`).FindAllString(q, -1) {
			if strings.Contains(metric, ":") {
				assert.Contains(t, text, "record: "+metric+"\n", name)
			} else {
				assert.Contains(t, string(metrics), "`"+metric+"`", name)
			}
		}
		assert.NotContains(t, q, "$", "%s: a variable that is not replaced", name)
	}
}

// A join of the dashboard on a target or disk must use all labels that identify the target or
// disk, because hosts and datasets on two sites may have the same names.
func TestTheDashboardJoinsByAllThatMakesATarget(t *testing.T) {
	for name, q := range queries(t) {
		for _, m := range regexp.MustCompile(`\bon \(([^)]*)\)`).FindAllStringSubmatch(q, -1) {
			if !strings.HasPrefix(m[1], "origin_cluster, origin_dataset, disk") {
				assert.Regexp(t, "^job, cluster, site, instance(, pool, dataset, disk, vmid)?$", m[1], name)
			}
		}
	}
}

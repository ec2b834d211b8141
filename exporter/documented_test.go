package exporter

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMetricsAreDocumented compares docs/metrics.md with the catalogue; -update writes the page.
func TestMetricsAreDocumented(t *testing.T) {
	const path = "../docs/metrics.md"
	var b strings.Builder
	b.WriteString(`# Metrics

What ` + "`snapwatch exporter`" + ` serves at /metrics; all are gauges. This page is made from the catalogue in
` + "`exporter/metrics.go`" + `, ` + "`exporter/node.go`, `exporter/runmetrics.go`" + ` and ` + "`exporter/prunemetrics.go`" + `. Besides these there are snapwatch_build_info and, about the process, go_*, process_* and
promhttp_* (--web.disable-exporter-metrics leaves them out).

cluster, site and role are never exported: they belong into the scrape configuration, see deploy/prometheus.

| metric | labels | meaning |
|---|---|---|
`)
	for _, m := range slices.Concat(catalogue, nodeCatalogue, runCatalogue, pruneCatalogue) {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Name, strings.Join(labels, " "), m.Help)
	}
	got := b.String()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./exporter -run Documented -update")
}

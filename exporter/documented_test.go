package exporter

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMetricsAreDocumented compares docs/metrics.md with the exporter's list of metrics; -update
// writes this page.
func TestMetricsAreDocumented(t *testing.T) {
	const path = "../docs/metrics.md"
	var b strings.Builder
	b.WriteString(`# Metrics

These are the metrics that ` + "`snapwatch exporter`" + ` serves at /metrics; all are gauges. A test writes this page from the catalogue in
` + "`exporter/metrics.go`" + `, ` + "`exporter/node.go`, `exporter/runmetrics.go`" + ` and ` + "`exporter/prunemetrics.go`" + `. In addition there are snapwatch_build_info and, about the process, go_*, process_* and
promhttp_* (--web.disable-exporter-metrics leaves them out).

The exporter never sets the labels cluster, site and role: set them in the scrape configuration (deploy/prometheus).

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

// Grafana writes the dashboard snapwatch.json: go run -C deploy/grafana .
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// file is where the dashboard is kept.
const file = "snapwatch.json"

func main() {
	text, err := render()
	if err == nil {
		err = os.WriteFile(file, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grafana:", err)
		os.Exit(1)
	}
}

// render is the dashboard as JSON that Grafana imports.
func render() ([]byte, error) {
	board, err := newDashboard().Build()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(board)
	return text.Bytes(), err
}

// newDashboard has the classic schema, which every Grafana imports; version 2 needs one
// of 2025.
//
//nolint:staticcheck // deprecated for that reason
func newDashboard() *dashboard.DashboardBuilder {
	board := dashboard.NewDashboardBuilder("Snapwatch").
		Uid("snapwatch").
		Description("Do snapshots of running guests still arrive? The recording rules of deploy/prometheus must be loaded.").
		Tags([]string{"snapwatch", "zfs", "proxmox"}).
		Time("now-24h", "now").Refresh("1m").Timezone(common.TimeZoneBrowser).
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
		WithVariable(variable("site", "Site", `label_values(snapwatch_time_seconds, site)`)).
		WithVariable(variable("vmid", "Guest", `label_values(snapwatch_disk_info{site=~"$site"}, vmid)`))
	for _, row := range rows() {
		board = board.WithRow(dashboard.NewRowBuilder(row.title))
		for _, panel := range row.panels {
			board = board.WithPanel(panel)
		}
	}
	return board
}

// variable lets a person choose values of a label, all at first.
func variable(name, label, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).
		Datasource(source()).
		Query(dashboard.StringOrMap{String: cog.ToPtr(query)}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortNaturalAsc).
		Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{
			Selected: cog.ToPtr(true),
			Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
}

// source is the Prometheus that the person chose.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

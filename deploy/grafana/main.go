// Grafana writes snapwatch.json, the dashboard for Grafana: go run -C deploy/grafana .
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// file is the name of the file with the dashboard.
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

// shared is a dashboard in the form that Grafana exports for sharing. When Grafana imports a
// shared dashboard, it asks a person for the inputs.
type shared struct {
	Inputs   []input    `json:"__inputs"`
	Requires []required `json:"__requires"`
	dashboard.Dashboard
}

// input is a value that a person chooses when Grafana imports the dashboard; the value replaces
// ${Name} in the dashboard.
type input struct {
	Name        string `json:"name"`
	Label       string `json:"label"`
	Description string `json:"description"`
	Type        string `json:"type"`
	PluginID    string `json:"pluginId"`
	PluginName  string `json:"pluginName"`
}

// required is a plugin of Grafana that the dashboard needs.
type required struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// share adds an input to the dashboard: the Prometheus that is selected when a person opens the
// dashboard. For a provisioned dashboard, Grafana does not ask for inputs, and selects the first
// Prometheus.
func share(board dashboard.Dashboard) shared { //nolint:staticcheck // its successor is for Grafana 12 and later only
	s := shared{
		Inputs: []input{{Name: "DS_PROMETHEUS", Label: "Prometheus", Type: "datasource", PluginID: "prometheus", PluginName: "Prometheus",
			Description: "The Prometheus that scrapes snapwatch's exporters, and has loaded its rules"}},
		Requires: []required{
			{Type: "grafana", ID: "grafana", Name: "Grafana"},
			{Type: "datasource", ID: "prometheus", Name: "Prometheus"},
		},
		Dashboard: board,
	}
	kinds := map[string]bool{}
	for _, p := range board.Panels {
		if p.Panel != nil {
			kinds[p.Panel.Type] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		s.Requires = append(s.Requires, required{Type: "panel", ID: kind, Name: kind})
	}
	return s
}

// render returns the dashboard as JSON that Grafana can import.
func render() ([]byte, error) {
	board, err := newDashboard().Build()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(share(board))
	return text.Bytes(), err
}

// newDashboard builds a dashboard in the classic schema, which every Grafana imports; only versions
// of Grafana since 2025 import version 2 of the schema.
//
//nolint:staticcheck // deprecated for that reason
func newDashboard() *dashboard.DashboardBuilder {
	board := dashboard.NewDashboardBuilder("Snapwatch").
		Uid("snapwatch").
		Description("Do snapshots of running guests still arrive? The recording rules of deploy/prometheus must be loaded.").
		Tags([]string{"snapwatch", "zfs", "proxmox"}).
		Time("now-24h", "now").Refresh("1m").Timezone(common.TimeZoneBrowser).
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus").
			Current(dashboard.VariableOption{
				Text:  dashboard.StringOrArrayOfString{String: cog.ToPtr("Prometheus")},
				Value: dashboard.StringOrArrayOfString{String: cog.ToPtr("${DS_PROMETHEUS}")},
			})).
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

// variable returns a dashboard variable that selects values of a label; at first all values are
// selected.
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

// source returns the reference to the Prometheus that the person selected.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

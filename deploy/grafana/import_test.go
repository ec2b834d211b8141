package main

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-jsonnet"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"sigs.k8s.io/yaml"
)

// inputs contains the values for which Grafana asks when it imports a dashboard, in the schema of
// a dashboard that was exported for sharing.
type inputs struct {
	Inputs []struct {
		Name, Label, Description, Type, PluginID, PluginName string
	} `json:"__inputs"`
	Requires []struct {
		Type, ID, Name, Version string
	} `json:"__requires"`
}

// Grafana's import asks for a Prometheus data source, and every panel must use the data source that
// the person chose. Without the keys for the import, __inputs and __requires, the dashboard's file
// must be valid in the dashboard's schema.
func TestTheDashboardImports(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var in inputs
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, i := range in.Inputs {
		asked["${"+i.Name+"}"] = true
		if i.Label == "" || i.Type != "datasource" || i.PluginID != "prometheus" || i.PluginName == "" {
			t.Errorf("not an input: %+v", i)
		}
	}
	used := map[string]bool{}
	for _, name := range regexp.MustCompile(`\$\{DS_\w+\}`).FindAllString(string(text), -1) {
		used[name] = true
	}
	if len(asked) == 0 || !reflect.DeepEqual(asked, used) {
		t.Errorf("asked for %v, used %v", asked, used)
	}
	for _, uid := range regexp.MustCompile(`"uid": "([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains([]string{"snapwatch", "${datasource}"}, uid[1]) {
			t.Errorf("a panel of the data source %q", uid[1])
		}
	}

	delete(all, "__inputs")
	delete(all, "__requires")
	rest, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var board dashboard.Dashboard //nolint:staticcheck // its successor is for Grafana 12 and later only
	errs := []error{board.UnmarshalJSONStrict(rest), board.Validate()}
	// The Grafana library does not read the dashboard's list of panels, so the test reads each
	// panel itself.
	kinds := map[string]bool{"prometheus": true, "grafana": true}
	var panels []json.RawMessage
	if err := json.Unmarshal(all["panels"], &panels); err != nil {
		t.Fatal(err)
	}
	for _, raw := range panels {
		var kind struct{ Type string }
		if err := json.Unmarshal(raw, &kind); err != nil {
			t.Fatal(err)
		}
		if kind.Type == "row" {
			errs = append(errs, (&dashboard.RowPanel{}).UnmarshalJSONStrict(raw))
			continue
		}
		kinds[kind.Type] = true
		errs = append(errs, (&dashboard.Panel{}).UnmarshalJSONStrict(raw))
	}
	for _, err := range errs {
		// For a valid dashboard, Grafana's library returns an empty list of errors instead of nil.
		if list, is := errors.AsType[cog.BuildErrors](err); err != nil && (!is || len(list) > 0) {
			t.Error(err)
		}
	}
	required := map[string]bool{}
	for _, r := range in.Requires {
		required[r.ID] = true
	}
	if !reflect.DeepEqual(kinds, required) {
		t.Errorf("requires %v, uses %v", required, kinds)
	}
}

// jsonnet can evaluate the monitoring mixin, and the result contains all alert rules and the
// unchanged dashboard.
func TestTheMixin(t *testing.T) {
	vm := jsonnet.MakeVM()
	vm.Importer(&jsonnet.FileImporter{JPaths: []string{".."}})
	for field, path := range map[string]string{
		".prometheusAlerts":                    "../prometheus/snapwatch.rules.yml",
		".grafanaDashboards['snapwatch.json']": file,
	} {
		out, err := vm.EvaluateAnonymousSnippet("mixin.jsonnet", "(import 'mixin.libsonnet')"+field)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not %s", field, path)
		}
	}
	out, err := vm.EvaluateAnonymousSnippet("mixin.jsonnet", "({ prometheusRules+:: { groups+: [1] } } + (import 'mixin.libsonnet')).prometheusRules.groups")
	if err != nil || strings.Join(strings.Fields(out), "") != "[1]" {
		t.Errorf("beside another mixin: %s, %v", out, err)
	}
}

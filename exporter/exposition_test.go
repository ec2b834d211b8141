package exporter

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// The function `odd` returns a report about disks whose metrics have unusual labels and values.
func odd() (r checker.Report, _ config.Config) {
	snapshot := &zfs.Snapshot{Name: "autosnap_2026-03-29_11:00:00_hourly", Creation: start.Add(-3661e9)}
	running := func(value string) zfs.Property { return zfs.Property{Value: value, Source: zfs.SourceReceived} }
	disks := []checker.Disk{
		{Dataset: "tank/z/vm-2-disk-0", VMID: 2, Newest: snapshot, Running: running("pve1.example")},
		{Dataset: "tank/a/vm-1-disk-0", VMID: 1, NewestOfAny: "by hand", Running: running("a\"b\\c\nd")},
		{Dataset: "tank/a/my data/subvol-300-disk-12", VMID: 300, Gone: true, Running: running("stopped")},
		{Dataset: "tank/a/vm-1-disk-1", VMID: 1, Newest: snapshot, Problem: "not read", Owned: checker.Owned},
		{Dataset: "tank/b/vm-1-disk-1", VMID: 1, Newest: snapshot, Owned: checker.Owned},
		{Dataset: "tank/b/vm-2-disk-1", VMID: 2, Newest: snapshot, Owned: checker.NotOwned},
		{Dataset: "other/base-9-disk-0", VMID: 9, Template: true, Newest: &zfs.Snapshot{Name: "autosnap_1960-01-01_00:00:00_yearly", Creation: start.AddDate(-66, 0, 0)}},
		{Dataset: "other/\xff", VMID: 9},
	}
	cfg := config.Default()
	cfg.Sources = []config.Source{{Dataset: "tank/a", Origin: "rpool/da\"ta", Cluster: "ea\\st"}}
	pools := []checker.Pool{{Name: "tank", ReadAt: start, Disks: disks}}
	defer func() { r.Guests[0].Name = "we\"b\\01" }()
	p := checker.NewPolicy(cfg)
	good := checker.Drill{At: start.Add(-3661e9), Reach: "checked", Seconds: 90.25}
	return checker.Assemble(pools, p, start).WithGuests(p).WithProofs(p, checker.Proofs{Guests: []checker.Proof{
		{VMID: 2, Last: good, Good: &good}, {Cluster: "ea\\st", VMID: 300, Last: checker.Drill{At: start}, Open: []checker.OpenFault{{Kind: checker.FaultStart, At: start, Wrong: []string{"no"}}}},
	}}), cfg
}

// The exporter's metrics text is, byte by byte, the text that client_golang would print.
func TestTextIsThatOfClientGolang(t *testing.T) {
	report, cfg := odd()
	for name, of := range map[string]checker.Report{
		"odd": report, "none": {Now: start}, "many": storeWith(300).Report(),
		"without snapshots": checker.Assemble([]checker.Pool{{Name: "tank", ReadAt: start, Disks: []checker.Disk{{Dataset: "tank/vm-1-disk-0", VMID: 1}}}}, checker.NewPolicy(cfg), start),
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(collector{report: func() checker.Report { return of }, config: func() config.Config { return cfg }})
			families, err := registry.Gather()
			require.NoError(t, err)
			var want, got, wantGuests, gotGuests bytes.Buffer
			guests := expfmt.NewEncoder(&wantGuests, expfmt.NewFormat(expfmt.TypeTextPlain))
			encoder := expfmt.NewEncoder(&want, expfmt.NewFormat(expfmt.TypeTextPlain))
			for _, f := range families {
				if strings.HasPrefix(f.GetName(), "snapwatch_disk_") {
					require.NoError(t, encoder.Encode(f))
				}
				if strings.HasPrefix(f.GetName(), "snapwatch_guest_") {
					require.NoError(t, guests.Encode(f))
				}
			}
			require.NoError(t, writeDisks(&got, of, cfg))
			require.Equal(t, want.String(), got.String())
			require.NoError(t, writeGuests(&gotGuests, of.Guests))
			lines := func(b bytes.Buffer) []string { return slices.Sorted(strings.Lines(b.String())) }
			require.Equal(t, lines(wantGuests), lines(gotGuests), "those of guests are the same, in another order")
		})
	}
}

// Every client gets the same metrics, in the format that the client accepts.
func TestFormsOfMetrics(t *testing.T) {
	r := newRig(t, world())
	live := httptest.NewServer(server().Handler(r.Store))
	defer live.Close()
	for name, header := range map[string]http.Header{
		"text": {"Accept-Encoding": {"identity"}}, "gzip": {"Accept-Encoding": {"deflate, gzip;q=1.0, *;q=0.5"}},
		"gzip, once more": {"Accept-Encoding": {"gzip"}},
		"protobuf":        {"Accept": {`application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited`}, "Accept-Encoding": {"identity"}},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequest(http.MethodGet, live.URL+"/metrics", nil)
			require.NoError(t, err)
			request.Header = header
			answer, err := http.DefaultTransport.RoundTrip(request)
			require.NoError(t, err)
			defer answer.Body.Close()
			require.Equal(t, http.StatusOK, answer.StatusCode)
			var body io.Reader = answer.Body
			if answer.Header.Get("Content-Encoding") == "gzip" {
				body, err = gzip.NewReader(body)
				require.NoError(t, err)
			}
			assert.Equal(t, strings.HasPrefix(name, "gzip"), answer.Header.Get("Content-Encoding") == "gzip")
			decoder := expfmt.NewDecoder(body, expfmt.ResponseFormat(answer.Header))
			series := map[string]int{}
			for {
				var f dto.MetricFamily
				if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
					break
				} else {
					require.NoError(t, err)
				}
				series[f.GetName()] = len(f.Metric)
			}
			assert.Equal(t, 4, series["snapwatch_disk_info"])
			assert.Equal(t, 44, series["snapwatch_disk_state"], fmt.Sprint(series))
			assert.Equal(t, 2, series["snapwatch_pool_disks"])
			assert.Contains(t, series, "snapwatch_build_info")
		})
	}
}

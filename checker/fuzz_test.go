package checker

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzCompareRequest checks that any request to an exporter is refused or valid.
func FuzzCompareRequest(f *testing.F) {
	f.Add([]byte(`{"version":2,"disks":[{"disk":"vm-100-disk-0","newest":{"name":"autosnap_2026-01-31_12:00:00_daily","guid":"12","creation":"2026-01-31T12:00:00Z"}}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":2,"disks":[{"disk":"../etc/passwd","dataset":"-r"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := ReadCompareRequest(bytes.NewReader(body))
		if err != nil {
			return
		}
		for _, d := range request.Disks {
			require.NoError(t, d.validate())
		}
	})
}

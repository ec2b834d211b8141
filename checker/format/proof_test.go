package format

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// In a packet of NRPE, the lines about guests without a recent proof must not displace the lines
// about other faults. The first line has the number of these guests.
func TestProofsAreTheLastLines(t *testing.T) {
	var disks []checker.Disk
	for vmid := range 40 {
		disks = append(disks, aDisk(string(rune('0'+vmid/10))+string(rune('0'+vmid%10)), zfs.Hourly, minute, func(d *checker.Disk) { d.VMID = 100 + vmid }))
	}
	disks[3] = aDisk("77", zfs.Hourly, 7*hour)
	cfg := config.Default()
	cfg.Limits.MaxProofAge = config.Duration(day)
	p := checker.NewPolicy(cfg)
	failed := checker.Proof{VMID: 101, Last: checker.Drill{At: ago(hour)}, Open: []checker.OpenFault{{Kind: checker.FaultFiles, At: ago(hour), Wrong: []string{"checking /dev/sda1 (ext4): faults\n| x"}}}}
	r := checker.Assemble([]checker.Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithGuests(p).WithProofs(p, checker.Proofs{Guests: []checker.Proof{failed}})
	var b bytes.Buffer
	require.NoError(t, Nagios{}.Write(&b, r))
	lines := strings.Split(b.String(), "\n")
	assert.True(t, strings.HasPrefix(lines[0], "CRITICAL: 1 of 40 guests stale, 1 of 40 disks stale, 1 guest failed in a drill, 39 guests without a recent proof, oldest "), lines[0])
	assert.Contains(t, lines[0], " 'proof_failed'=1;;;0 'proof_old'=39;;;0 ")
	assert.True(t, strings.HasPrefix(lines[1], "CRITICAL tank/vm-77-disk-0 stale 7h"), lines[1])
	assert.True(t, strings.HasPrefix(lines[2], "WARNING: guest "), lines[2])
	assert.LessOrEqual(t, b.Len(), packet)

	b.Reset()
	require.NoError(t, Checkmk(&b, r))
	assert.Contains(t, b.String(), `1 "snapwatch" - WARNING: `)
	assert.NotContains(t, b.String(), "faults\n")
	b.Reset()
	require.NoError(t, Table{}.Write(&b, r))
	assert.Contains(t, b.String(), "WARNING: guest 101: proof failed: ")
}

package drill

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
)

func TestParseShare(t *testing.T) {
	for text, want := range map[string]float64{"1/1": 1, "1/4": 0.25, "3/4": 0.75} {
		share, err := ParseShare(text)
		require.NoError(t, err, text)
		assert.InDelta(t, want, share, 1e-9, text)
	}
	for _, text := range []string{"", "1", "1/", "/3", "0/3", "4/3", "-1/3", "1/0", "0.5", "1/3/4", "1/99999", " 1/3"} {
		_, err := ParseShare(text)
		assert.ErrorContains(t, err, "write it as 1/30", text)
	}
}

// The parts of thirty drills cover each byte once, whatever the size of a disk, and then begin again.
func TestPartsCoverADisk(t *testing.T) {
	g := guest()
	for _, of := range []int{1, 7, 30, 1000} {
		for _, size := range []int64{0, 1, 29, 1 << 20, 1<<40 + 512} {
			var r Records
			at := int64(0)
			for i := range of {
				p := r.NextPart(g, 1/float64(of))
				from, to := p.Range(size)
				require.Equal(t, at, from, "part %d of %d of %d", i, of, size)
				at = to
				r = r.With(g, checker.Drill{Reach: Read, Part: &p})
			}
			assert.Equal(t, size, at, "%d parts of %d", of, size)
			assert.Zero(t, r.NextPart(g, 0.5).From)
		}
	}
}

// A part with a fault is read again. A drill that read nothing changes nothing, and an impossible
// place in the record begins again. The whole is the whole, wherever the last part ended.
func TestNextPartAfterAFault(t *testing.T) {
	g := guest()
	r := Records{}.With(g, checker.Drill{At: now, Reach: Read, Part: &checker.Part{To: 0.25}})
	next := checker.Part{From: 0.25, To: 0.5}
	assert.Equal(t, next, r.NextPart(g, 0.25))
	assert.Equal(t, checker.Part{To: 1}, r.NextPart(g, 1))
	r = r.With(g, failed(checker.FaultRead, func(d *checker.Drill) { d.Part = &next }))
	assert.Equal(t, next, r.NextPart(g, 0.25))
	r = r.With(g, checker.Drill{At: now, Reach: Checked})
	assert.Equal(t, next, r.NextPart(g, 0.25))
	after := r.With(g, failed(checker.FaultFiles, func(d *checker.Drill) { d.Part = &next }))
	assert.InDelta(t, 0.5, after.NextPart(g, 0.25).From, 1e-9, "the part was read without a fault")
	text, err := checker.FormatProofs(r)
	require.NoError(t, err)
	again, err := checker.ParseProofs(text)
	require.NoError(t, err)
	assert.Equal(t, r, Records(again))
	for _, wrong := range []float64{-1, 7} {
		r[0].ReadTo = wrong
		assert.Equal(t, checker.Part{To: 0.25}, r.NextPart(g, 0.25))
	}
	assert.Equal(t, "read in 2s; 1.0M read, from 25.0% to 50.0% of each disk", checker.Drill{Reach: Read, Seconds: 2, ReadBytes: 1 << 20, Part: &next}.Words())
}

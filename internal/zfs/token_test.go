package zfs

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// token returns a resume token that contains the given name-value list, encoded as ZFS does.
func token(t *testing.T, list string) string {
	t.Helper()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, err := w.Write([]byte(list))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return fmt.Sprintf("1-%x-%x-%s", 0xabc, len(list), hex.EncodeToString(packed.Bytes()))
}

func TestResumedSnapshot(t *testing.T) {
	const of = "rpool/data/vm-100-disk-0@autosnap_2026-07-15_00:00:00_daily"
	list := "\x01\x01\x00\x00object\x00\x00\x01\x00toguid\x00\x00\x07\x00toname\x00\x00" + of + "\x00\x00\x00\x00compressok\x00"
	assert.Equal(t, of, ResumedSnapshot(token(t, list)))
	for name, text := range map[string]string{
		"none":          "",
		"- ":            "-",
		"another form":  "2-abc-10-00",
		"no hex":        "1-abc-10-xyz",
		"not packed":    "1-abc-10-0011",
		"cut off":       token(t, list)[:60],
		"without":       token(t, "object\x00\x00"),
		"no snapshot":   token(t, "toname\x00\x00rpool/data\x00"),
		"no name":       token(t, "toname\x00\x00rpool/data@\x00"),
		"a line end":    token(t, "toname\x00\x00rpool/data@a\nb\x00"),
		"no dataset":    token(t, "toname\x00\x00-rf@a\x00"),
		"beyond bounds": token(t, string(bytes.Repeat([]byte{7}, maxToken))+"toname\x00\x00"+of+"\x00"),
	} {
		assert.Empty(t, ResumedSnapshot(text), name)
	}
}

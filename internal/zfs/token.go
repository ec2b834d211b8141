package zfs

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"io"
	"strings"
)

// ResumedSnapshot reads a resume token only if the decompressed token has at most maxToken bytes,
// because a received token may be of any size.
const maxToken = 64 << 10

// ResumedSnapshot returns the full name that the snapshot of a receive_resume_token has on the
// source host. ZFS can continue the interrupted receive only if the source host still has the
// snapshot. ResumedSnapshot returns "" if it does not understand the token. The command `zfs send
// -nvt TOKEN` prints the name of the snapshot after toname.
func ResumedSnapshot(token string) string {
	parts := strings.Split(token, "-") // the parts of a token: version, checksum, size, payload
	if len(parts) != 4 || parts[0] != "1" {
		return ""
	}
	packed, err := hex.DecodeString(parts[3])
	if err != nil {
		return ""
	}
	unpacked, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return ""
	}
	list, err := io.ReadAll(io.LimitReader(unpacked, maxToken))
	if err != nil {
		return ""
	}
	// The decompressed token is a list of names and values in the layout of the machine that made
	// it. Each string ends with zero bytes, which fill the string up to the next boundary.
	_, value, _ := bytes.Cut(list, []byte("toname\x00"))
	value, _, _ = bytes.Cut(bytes.TrimLeft(value, "\x00"), []byte{0})
	dataset, name, _ := strings.Cut(string(value), "@")
	if !ValidDataset(dataset) || name == "" || !printed(name) {
		return ""
	}
	return dataset + "@" + name
}

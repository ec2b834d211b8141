package zfs

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"io"
	"strings"
)

// maxToken bounds what a token may unpack to: one that was received may say anything.
const maxToken = 64 << 10

// ResumedSnapshot returns the snapshot that a receive_resume_token is of, with the name that its
// source gives it: to resume, the source must still have it. It is "" where the token is not
// understood. zfs send -nvt TOKEN says the same, after toname.
func ResumedSnapshot(token string) string {
	parts := strings.Split(token, "-") // version, checksum, size, payload
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
	// A list of names and values in the machine's own layout, in which strings end in a zero and
	// are filled up with more of them.
	_, value, _ := bytes.Cut(list, []byte("toname\x00"))
	value, _, _ = bytes.Cut(bytes.TrimLeft(value, "\x00"), []byte{0})
	dataset, name, _ := strings.Cut(string(value), "@")
	if !ValidDataset(dataset) || name == "" || !printed(name) {
		return ""
	}
	return dataset + "@" + name
}

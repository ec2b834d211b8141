package pve

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// MaxCaptured is the length in bytes of the longest value of a user property that ZFS accepts.
const MaxCaptured = 8191

// maxCapturedText is the length in bytes of the longest unpacked configuration that is stored or
// read. Proxmox allows at most 1 MiB for its own files, and a text that fits into a ZFS property
// when compressed is far shorter.
const maxCapturedText = 256 << 10

// ErrTooLong is in the error's chain if a configuration is too long to be stored in a ZFS property.
var ErrTooLong = errors.New("too long for a property (8 KiB)")

// secretKeys match the keys of the configuration lines that are not stored on snapshots: lines with
// passwords or keys, and lines with free text that may contain a password. Free text that may
// contain a password is in QEMU arguments, in a container's environment, and in the command lines
// that LXC starts.
var secretKeys = regexp.MustCompile(`(?i)^(?:cipassword|sshkeys|args|env|lxc\.environment.*|lxc\.(?:init|execute)\.cmd|lxc\.hook\..*|lxc\.net\..*\.script\..*)$`)

// secretValues match further configuration lines that are not stored on snapshots, whatever their
// key is: lines with a password or key among the options of a mount or disk, or inside a URL. In a
// URL, a slash may be part of the password, except if the text before the slash is a port.
var secretValues = regexp.MustCompile(`(?i)(?:pass|passw|passwd|password|passphrase|passwort|pw|pwd|secret|token|credentials?|cred|auth|key|psk)(?:_?\d+)?[\s\\]*=\s*[^\s,]` +
	`|user(?:name)?\s*=\s*[^\s,%]*%` +
	`|[a-z][a-z0-9+.-]*://(?:[^/\s@]*[:%][^/\s@]*|[^/\s@:[]*(?:%|:\d*[^/\s@\d])[^\s@]*)@`)

// passingKeys has the keys of the configuration lines that are not stored because they describe a
// momentary state, such as a lock, or belong to a snapshot.
var passingKeys = []string{"lock", "parent", "digest"}

// Keepable returns the part of a guest's configuration that is stored on the snapshots of its
// disks: the current section, without secrets and without Proxmox's momentary state. The second
// result has, in alphabetical order, the keys of the omitted lines with secrets. A restored
// configuration lacks the secrets, and a comment line by snapwatch names their keys. The second
// result also has the keys that such a comment line names.
func Keepable(kind Kind, text string) (kept string, without []string) {
	var b strings.Builder
	leaves := func(name string) {
		if i, is := slices.BinarySearch(without, name); !is {
			without = slices.Insert(without, i, name)
		}
	}
	for _, line := range numbered(text) {
		if _, is := head(kind, line); is {
			break // the current section is the first
		}
		line = strings.TrimRight(line, "\r") // keep spaces: "boot: " sets a value, "boot:" does not
		key := keyOf(line)
		switch {
		case ourHead.MatchString(line): // a comment from an earlier store by snapwatch
			if names := ourHead.FindStringSubmatch(line)[1]; names != "" && names != nothing {
				for name := range strings.SplitSeq(names, ", ") {
					leaves(name)
				}
			}
		case onlyBlank.MatchString(line) || strings.HasPrefix(line, "[") || slices.Contains(passingKeys, key):
		case secretKeys.MatchString(key), !strings.HasPrefix(line, "#") && secretValues.MatchString(line):
			leaves(secretName(key))
		default:
			b.WriteString(line + "\n")
		}
	}
	return b.String(), without
}

// keyOf returns the key of a line of a guest's configuration. A key of a container may be followed
// by "=" instead of ":", as Proxmox allows.
func keyOf(line string) string {
	end := ":"
	if strings.HasPrefix(strings.TrimSpace(line), "lxc.") {
		end = ":="
	}
	if i := strings.IndexAny(line, end); i >= 0 {
		line = line[:i]
	}
	return strings.TrimSpace(line)
}

// Captured is a guest's configuration in the form in which it is stored on a snapshot.
type Captured struct {
	ID ID
	// Text is the result of [Keepable], below a comment line that names the guest, the node and the
	// keys of the omitted lines.
	Text string
}

// Capture returns the configuration of a guest on a node in the form in which it is stored. The
// argument `storages` has the node's storages on ZFS. The stored text also names each storage of
// the guest that is not on ZFS: a disk there has no snapshots, so no other host can receive the
// disk.
func Capture(id ID, node, text string, storages []Storage) Captured {
	kept, without := Keepable(id.Kind, text)
	left := cmp.Or(strings.Join(without, ", "), nothing)
	head := fmt.Sprintf("# snapwatch: %s/%d.conf of %s, left out: %s\n", id.Kind.configDir(), id.VMID, node, left)
	var others []string
	for _, v := range parseConfig(id, kept).Volumes {
		on := func(s Storage) bool { return s.Name == v.Storage }
		file := strings.Contains(v.Name, "/") // a file of a directory storage, such as an ISO image
		if len(storages) > 0 && !file && storageName.MatchString(v.Storage) && !slices.ContainsFunc(storages, on) && !slices.Contains(others, v.Storage) {
			others = append(others, v.Storage)
		}
	}
	if len(others) > 0 {
		slices.Sort(others)
		head += "# snapwatch: takes no snapshots on: " + strings.Join(others, ", ") + "\n"
	}
	return Captured{id, head + kept}
}

// Others returns the names of the guest's storages on which snap takes no snapshots.
func (c Captured) Others() []string {
	_, rest, _ := strings.Cut(c.Text, "\n")
	line, _, _ := strings.Cut(rest, "\n")
	m := othersHead.FindStringSubmatch(line)
	if m == nil {
		return nil
	}
	return strings.Split(m[1], ", ")
}

// Config parses the guest's configuration that is stored in Text.
func (c Captured) Config() Config { return parseConfig(c.ID, c.Text) }

// Sum returns a short hash of the text. A snapshot without a stored configuration refers by this
// hash to the snapshot that stores the same configuration.
func (c Captured) Sum() string {
	sum := sha256.Sum256([]byte(c.Text))
	return hex.EncodeToString(sum[:8])
}

// Reference returns the property value for a snapshot that does not store the configuration, but
// refers to the snapshot that stores it.
func (c Captured) Reference() string { return referenceMark + c.Sum() }

// referenceMark is the first character of a reference to a stored configuration. referenceMark is
// not a character of base64, so no stored configuration begins with it.
const referenceMark = "@"

// ReadReference returns the hash in a property value that refers to a stored configuration. If the
// value does not refer to a stored configuration, ReadReference returns false.
func ReadReference(value string) (sum string, ok bool) {
	return strings.CutPrefix(value, referenceMark)
}

// packers has the compressors that are not in use. Compressors are used again, because a new
// compressor allocates about 800 KiB.
var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestCompression) // fails only for an unknown level
	return z
}}

// Value returns the property value that stores the configuration on a snapshot. The error wraps
// [ErrTooLong] if the value would exceed [MaxCaptured] bytes.
func (c Captured) Value() (string, error) {
	if err := plainText(c.Text); err != nil {
		return "", err
	}
	var packed bytes.Buffer
	z := packers.Get().(*gzip.Writer) //nolint:forcetypeassert // packers makes only these
	defer packers.Put(z)
	z.Reset(&packed)
	if _, err := z.Write([]byte(c.Text)); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	value := base64.StdEncoding.EncodeToString(packed.Bytes())
	if len(value) > MaxCaptured {
		return "", fmt.Errorf("%d bytes: %w", len(value), ErrTooLong)
	}
	return value, nil
}

// leftOut matches, in the first line of a stored configuration, the list of the keys of the omitted
// lines, or the word nothing if the text has all lines.
const (
	leftOut = `[A-Za-z0-9._, -]+`
	nothing = "nothing"
)

var plainKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// secretName returns the name for a secret key in the first line of a stored configuration. A key
// with unusual characters is not written into the first line of a stored configuration, because
// such a key may contain the secret itself.
func secretName(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	if strings.HasPrefix(key, "lxc.environment") {
		return "lxc.environment"
	}
	return "a line"
}

var capturedHead = regexp.MustCompile(`^# snapwatch: (qemu-server|lxc)/([1-9][0-9]{0,8})\.conf of [A-Za-z0-9.-]+, left out: ` + leftOut + `\n`)

// storageList matches the list of storages in the second line of a stored configuration.
const storageList = `[A-Za-z][A-Za-z0-9._-]*(?:, [A-Za-z][A-Za-z0-9._-]*)*`

var othersHead = regexp.MustCompile(`^# snapwatch: takes no snapshots on: (` + storageList + `)$`)

// ourHead matches one of snapwatch's first lines in a restored configuration. In a restored
// configuration, Proxmox has rewritten the comment lines by snapwatch in its own way, with %3A for
// a colon.
var ourHead = regexp.MustCompile(`^# ?snapwatch(?::|%3A) (?:(?:qemu-server|lxc)/[1-9][0-9]{0,8}\.conf of [A-Za-z0-9.-]+, left out(?::|%3A) (` + leftOut +
	`)|takes no snapshots on(?::|%3A) ` + storageList + `)$`)

// ReadCaptured reads a guest's configuration from the value of a snapshot's property. The value may
// have arrived from an attacker in a received stream, so ReadCaptured accepts only printable text
// of limited size.
func ReadCaptured(value string) (Captured, error) {
	if len(value) > MaxCaptured {
		return Captured{}, ErrTooLong
	}
	packed, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || strings.ContainsAny(value, "\r\n") {
		return Captured{}, errors.New("not base64")
	}
	rest := bytes.NewReader(packed)
	z, err := gzip.NewReader(rest)
	if err != nil {
		return Captured{}, fmt.Errorf("not gzip: %w", err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(io.LimitReader(z, maxCapturedText+1))
	if err != nil {
		return Captured{}, fmt.Errorf("not gzip: %w", err)
	}
	if err := plainText(string(text)); err != nil {
		return Captured{}, err
	}
	if rest.Len() > 0 {
		return Captured{}, errors.New("unexpected data after the end of the gzip data")
	}
	m := capturedHead.FindSubmatch(text)
	if m == nil {
		return Captured{}, errors.New("the first line is not the one with which snapwatch begins a stored configuration")
	}
	id := ID{Kind: QEMU}
	if string(m[1]) == LXC.configDir() {
		id.Kind = LXC
	}
	if id.VMID, err = strconv.Atoi(string(m[2])); err != nil {
		return Captured{}, err
	}
	return Captured{id, string(text)}, nil
}

// plainText returns an error for a stored configuration with characters that could control a
// terminal, and for one that is too long.
func plainText(text string) error {
	if len(text) > maxCapturedText {
		return fmt.Errorf("more than %d bytes of text: %w", maxCapturedText, ErrTooLong)
	}
	if !utf8.ValidString(text) {
		return errors.New("not UTF-8")
	}
	for _, c := range text {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			return fmt.Errorf("a character that is not printable (%U)", c)
		}
	}
	return nil
}

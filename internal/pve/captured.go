package pve

import (
	"bytes"
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
	"unicode"
	"unicode/utf8"
)

// MaxCaptured is the longest value of a user property that ZFS takes, in bytes.
const MaxCaptured = 8191

// maxCapturedText is the longest text that is kept or read back, in bytes. Proxmox's own
// files have no more than 1 MiB, and one that fits into a property is far shorter.
const maxCapturedText = 256 << 10

// ErrTooLong is in the chain of errors for a configuration that no property can hold.
var ErrTooLong = errors.New("too long for a property (8 KiB)")

// secretKeys are left out of what is kept: passwords, keys, and free text for other
// programs that may hold either: a container's environment, and the command lines that LXC starts.
var secretKeys = regexp.MustCompile(`(?i)^(?:cipassword|sshkeys|args|env|lxc\.environment.*|lxc\.(?:init|execute)\.cmd|lxc\.hook\..*)$`)

// secretValues are in lines that are left out, whatever their key: passwords and keys among the
// options of a mount or a disk, and those of an address.
var secretValues = regexp.MustCompile(`(?i)(?:pass|passw|passwd|password|passphrase|passwort|pw|pwd|secret|token|credentials?|cred|auth|key)(?:_?\d+)?\s*=\s*[^\s,]|[a-z][a-z0-9+.-]*://[^/\s@]*[:%][^/\s@]*@`)

// passingKeys say what Proxmox is at, or belong to the sections that are left out.
var passingKeys = []string{"lock", "parent", "digest"}

// Keepable is what of a guest's configuration is kept beside its disks: its current
// part, without secrets and without what only holds for the moment. without are the keys of the
// secrets that were there.
func Keepable(text string) (kept string, without []string) {
	var b strings.Builder
	for _, line := range numbered(text) {
		if pendingHead[LXC].MatchString(line) || snapshotHead.MatchString(line) || specialHead.MatchString(line) {
			break // what is pending, cloud-init's, or a snapshot's
		}
		line = strings.TrimRight(line, "\r") // blanks stay: "boot: " is a value, "boot:" none
		key := keyOf(line)
		switch {
		case ourHead.MatchString(line): // of one that was restored: it is no part of it
		case onlyBlank.MatchString(line) || strings.HasPrefix(line, "[") || slices.Contains(passingKeys, key):
		case secretKeys.MatchString(key), !strings.HasPrefix(line, "#") && secretValues.MatchString(line):
			if name := secretName(key); !slices.Contains(without, name) {
				without = append(without, name)
			}
		default:
			b.WriteString(line + "\n")
		}
	}
	return b.String(), without
}

// keyOf is a line's key. Proxmox reads LXC's own keys as LXC writes them, too: with an =.
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

// Captured is a guest's configuration as it is kept.
type Captured struct {
	ID ID
	// Text is what [Keepable] left, below a comment that says where it is from and what was
	// left out.
	Text string
}

// Capture returns what is kept of a guest's configuration on a node.
func Capture(id ID, node, text string) Captured {
	kept, without := Keepable(text)
	left := "nothing"
	if len(without) > 0 {
		left = strings.Join(without, ", ")
	}
	return Captured{id, fmt.Sprintf("# snapwatch: %s/%d.conf of %s, left out: %s\n%s", id.Kind.configDir(), id.VMID, node, left, kept)}
}

// Config is what it says.
func (c Captured) Config() Config { return parseConfig(c.ID, c.Text) }

// Sum tells it from others.
func (c Captured) Sum() string {
	sum := sha256.Sum256([]byte(c.Text))
	return hex.EncodeToString(sum[:8])
}

// Reference is the property's value of a snapshot for which this held, where another one
// keeps it.
func (c Captured) Reference() string { return referenceMark + c.Sum() }

// referenceMark begins a reference. It is no character of base64's.
const referenceMark = "@"

// ReadReference returns the sum that a value refers to, false where it is no reference.
func ReadReference(value string) (sum string, ok bool) {
	return strings.CutPrefix(value, referenceMark)
}

// Value is the property's value of a snapshot that keeps it, [MaxCaptured] bytes at most. The
// error wraps [ErrTooLong] where it would be more.
func (c Captured) Value() (string, error) {
	if err := plainText(c.Text); err != nil {
		return "", err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return "", err
	}
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

// leftOut are the keys of secrets as the first line names them, see [secretName].
const leftOut = `[A-Za-z0-9._, -]+`

var plainKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// secretName is how the first line names a secret key: as far as it is one. Anything may stand
// behind, even its value.
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

// ourHead is the first line of what was kept, as it stands in a configuration that was
// restored: Proxmox writes a comment in its own way.
var ourHead = regexp.MustCompile(`^# ?snapwatch(?::|%3A) (?:qemu-server|lxc)/[1-9][0-9]{0,8}\.conf of [A-Za-z0-9.-]+, left out(?::|%3A) ` + leftOut + `$`)

// ReadCaptured reads such a value, which may have come with a stream from anybody: it is
// text, of bounded size, and nothing is behind it.
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
		return Captured{}, errors.New("something follows its end")
	}
	m := capturedHead.FindSubmatch(text)
	if m == nil {
		return Captured{}, errors.New("its first line is not that of a configuration that was kept")
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

// plainText refuses what could do more to a terminal than show.
func plainText(text string) error {
	if len(text) > maxCapturedText {
		return fmt.Errorf("more than %d bytes of text: %w", maxCapturedText, ErrTooLong)
	}
	if !utf8.ValidString(text) {
		return errors.New("not UTF-8")
	}
	for _, c := range text {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			return fmt.Errorf("a character that is no text (%U)", c)
		}
	}
	return nil
}

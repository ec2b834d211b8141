package index

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/files"
	"snapwatch/internal/zfs"
)

// The index of a pool is a text file with tab-separated columns. The first line of the file is
// indexHead. The next lines are about turns (see [Index.Turns]): one line for each disk that prune
// lists in turns. Each disk with an entry in the index has a line, followed by one line for each of
// its snapshots and bookmarks. The last line of an index file has a checksum of all lines before
// it.
const indexHead = "snapwatch index 1"

// Path returns the path of a pool's index; a pool's name never contains a slash.
func Path(stateDir, pool string) string {
	return filepath.Join(stateDir, "index-"+pool)
}

// Load reads an index from its file. If the file is missing or unusable, Load returns an empty
// index. The error has the reason why the index file is unusable. If the index file is missing, the
// error is nil.
func Load(path string) (Index, error) {
	text, err := files.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Index{}, nil
	}
	if err != nil {
		return Index{}, fmt.Errorf("index ignored, every snapshot is listed: %w", err)
	}
	x, err := Parse(text)
	if err != nil {
		return Index{}, fmt.Errorf("index %s discarded, every snapshot is listed: %w", path, err)
	}
	return x, nil
}

var errIndex = errors.New("it is damaged")

// Parse reads an index from the text of its file. The error says which line of the index is
// damaged.
func Parse(text []byte) (Index, error) {
	body, end, found := bytes.Cut(text, []byte("\nend\t"))
	if !found || string(end) != sum(body)+"\n" {
		return Index{}, fmt.Errorf("%w: its checksum is missing or wrong", errIndex)
	}
	x := Index{Entries: map[string]*entry{}, turns: map[string]turn{}}
	head, rest, more := strings.Cut(string(body), "\n")
	if head != indexHead {
		return Index{}, fmt.Errorf("%w: it begins with %.40q", errIndex, head)
	}
	dataset, n := "", 1
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		n++
		var err error
		if dataset, err = x.line(dataset, strings.Split(line, "\t")); err != nil {
			return Index{}, fmt.Errorf("%w: line %d: %w", errIndex, n, err)
		}
	}
	return x, nil
}

func sum(body []byte) string { return strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 16) }

// line adds one line of the file, split into columns, to the index. The lines of a disk's snapshots
// and bookmarks follow the line of the disk. line returns the dataset of this disk, and the caller
// passes the dataset to the next call of line.
func (x *Index) line(dataset string, f []string) (string, error) {
	if f[0] == "disk" && len(f) == 8 && zfs.ValidDataset(f[1]) {
		e, err := parseEntry(f[2:])
		x.Entries[f[1]] = e
		return f[1], err
	}
	if f[0] == "turn" && len(f) == 4 && zfs.ValidDataset(f[1]) {
		var p numbers
		x.turns[f[1]] = turn{p.uint(f[2]), f[3] == "whole"}
		return "", p.err
	}
	e := x.Entries[dataset]
	if e == nil || len(f) != 5 {
		return "", fmt.Errorf("unexpected %.40q", strings.Join(f, " "))
	}
	var p numbers
	s := zfs.Snapshot{Dataset: dataset, Name: f[1], GUID: p.uint(f[2]), CreateTXG: p.uint(f[3]), Creation: p.time(f[4])}
	switch {
	case p.err != nil:
		return "", p.err
	case f[0] == "snapshot" && s.Name != "":
		e.Snapshots = append(e.Snapshots, s)
	case f[0] == "bookmark":
		e.Bookmarks = append(e.Bookmarks, s)
	default:
		return "", fmt.Errorf("unexpected %.40q", strings.Join(f, " "))
	}
	return dataset, nil
}

func parseEntry(f []string) (*entry, error) {
	var p numbers
	e := &entry{key: gateKey{GUID: p.uint(f[0]), Origin: f[1], Newest: f[2], Changed: p.time(f[3]).Unix()}, listedAt: p.time(f[4])}
	if f[5] != "" {
		written := p.uint(f[5])
		e.Written = &written
	}
	return e, p.err
}

// The type `numbers` parses numbers and collects the errors.
type numbers struct{ err error }

func (p *numbers) uint(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	p.err = errors.Join(p.err, err)
	return n
}

func (p *numbers) time(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	p.err = errors.Join(p.err, err)
	return time.Unix(n, 0)
}

// Save replaces the index file atomically.
func (x *Index) Save(path string) error {
	if err := files.Directory(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := files.Replace(path, x.Text(), 0o600); err != nil {
		return err
	}
	x.Changed = false
	return nil
}

// Text returns the index in the format of its file.
func (x *Index) Text() []byte {
	var b bytes.Buffer
	b.WriteString(indexHead)
	for _, dataset := range slices.Sorted(maps.Keys(x.turns)) {
		end := ""
		if x.turns[dataset].whole {
			end = "whole"
		}
		fmt.Fprintf(&b, "\nturn\t%s\t%d\t%s", dataset, x.turns[dataset].number, end)
	}
	for _, dataset := range slices.Sorted(maps.Keys(x.Entries)) {
		e := x.Entries[dataset]
		written := ""
		if e.Written != nil {
			written = strconv.FormatUint(*e.Written, 10)
		}
		fmt.Fprintf(&b, "\ndisk\t%s\t%d\t%s\t%s\t%d\t%d\t%s", dataset, e.key.GUID, e.key.Origin, e.key.Newest, e.key.Changed, e.listedAt.Unix(), written)
		for _, s := range e.Snapshots {
			appendSnapshot(&b, "snapshot", s)
		}
		for _, s := range e.Bookmarks {
			appendSnapshot(&b, "bookmark", s)
		}
	}
	end := sum(b.Bytes())
	b.WriteString("\nend\t" + end + "\n")
	return b.Bytes()
}

func appendSnapshot(b *bytes.Buffer, kind string, s zfs.Snapshot) {
	line := append(b.AvailableBuffer(), "\n"+kind+"\t"+s.Name+"\t"...) // half of the time of fmt.Fprintf
	line = append(strconv.AppendUint(line, s.GUID, 10), '\t')
	line = append(strconv.AppendUint(line, s.CreateTXG, 10), '\t')
	b.Write(strconv.AppendInt(line, s.Creation.Unix(), 10))
}

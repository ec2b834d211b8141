package zfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/command"
)

// headProperties are the properties that [Reader.Children] and [Reader.Descendants] read of every
// dataset, in the order of zfs's output. User properties are free text that a received stream may
// have chosen: a value with line breaks can look like rows of another dataset. The last property in
// headProperties is a native ZFS property. The parser does not expect this property's row after the
// false rows, and so notices the false rows.
var (
	headProperties  = slices.Concat(nativeProperties[:len(nativeProperties)-1], labelProperties)
	labelProperties = []string{LabelRunning, LabelNoSnap, "guid"}
	// nativeProperties are the properties whose values neither a user nor a received stream can
	// choose.
	nativeProperties = []string{
		"creation", "origin", prevsnap, "inconsistent", "receive_resume_token", "written", snapshotsChanged, "guid",
	}
	// roomProperties are the properties about free space. Only runs that take snapshots read
	// roomProperties.
	roomProperties = []string{"available", "refreservation", "usedbyrefreservation"}
)

// Properties that some ZFS versions do not know. If zfs get does not know a property, it fails.
const (
	// prevsnap is undocumented, so any ZFS release may remove it (docs/zfs-versions.md).
	prevsnap = "prevsnap"
	// snapshotsChanged exists since OpenZFS 2.2.
	snapshotsChanged = "snapshots_changed"
)

// Children lists the filesystems and volumes directly below each of the parents, by one zfs
// process. The argument parents must be datasets of one pool. If Children returns both heads and an
// error, the error is a [*command.Error]: zfs printed an error and exited by itself, and each
// returned head is complete. If a label makes the list unreadable, Children starts further zfs
// processes to read the labels. Of all methods of Reader, only Children reads the properties about
// free space.
func (r Reader) Children(ctx context.Context, parents ...string) ([]Dataset, error) {
	heads, err := r.labelled(ctx, []string{"-d", "1"}, roomProperties, parents)
	return without(heads, parents), err
}

// Descendants lists the roots and all filesystems and volumes below the roots, which must be in one
// pool. The errors of Descendants are those of [Reader.Children].
func (r Reader) Descendants(ctx context.Context, roots ...string) ([]Dataset, error) {
	return r.labelled(ctx, []string{"-r"}, nil, roots)
}

// DescendantsUnlabelled lists the same datasets as [Reader.Descendants], but reads no user
// properties.
func (r Reader) DescendantsUnlabelled(ctx context.Context, roots ...string) ([]Dataset, error) {
	return r.heads(ctx, []string{"-r"}, nativeProperties, roots)
}

func without(heads []Dataset, parents []string) []Dataset {
	is := make(map[string]bool, len(parents))
	for _, p := range parents {
		is[p] = true
	}
	var below []Dataset
	for _, h := range heads {
		if !is[h.Name] {
			below = append(below, h)
		}
	}
	return below
}

// heads reads datasets with zfs get, because zfs list does not print the source of a property.
// heads does not read received values, because zfs would then read each dataset again for every
// property, which takes ten times as long (see [Reader.Received]).
func (r Reader) heads(ctx context.Context, depth, properties, names []string) ([]Dataset, error) {
	ask := func(properties []string) ([]Dataset, error) {
		argv := append([]string{"zfs", "get", "-Hp"}, depth...)
		argv = append(argv, "-t", "filesystem,volume", "-o", "name,property,value,source", strings.Join(properties, ","))
		p := datasetParser{properties: properties, seen: map[string]bool{}, blind: !slices.Contains(properties, prevsnap)}
		err := r.lines(ctx, append(argv, names...), p.line)
		end := p.end()
		if err == nil {
			err = errors.Join(end, p.lacks(names))
		}
		if err != nil && !Complained(err) {
			return nil, err // zfs was killed, or its output is unreadable
		}
		return p.heads, err
	}
	for {
		heads, err := ask(properties)
		rest := withoutUnknown(properties, err)
		if len(heads) > 0 || len(rest) == len(properties) {
			return heads, err
		}
		properties = rest
	}
}

// withoutUnknown removes from properties the property that zfs rejected as unknown in the error
// err. If err does not name the property, withoutUnknown removes all properties that some ZFS
// versions do not know. A call that zfs rejects reads nothing from the pool.
func withoutUnknown(properties []string, err error) []string {
	failed, ok := errors.AsType[*command.Error](err)
	if !ok || command.ExitCode(err) != 2 {
		return properties
	}
	rest := properties
	for _, optional := range []string{prevsnap, snapshotsChanged} {
		if strings.Contains(failed.Stderr, "'"+optional+"'") {
			return withoutProperty(properties, optional)
		}
		if slices.Contains(properties, optional) {
			rest = withoutProperty(properties, optional)
		}
	}
	return rest
}

func withoutProperty(properties []string, name string) []string {
	var rest []string
	for _, p := range properties {
		if p != name {
			rest = append(rest, p)
		}
	}
	return rest
}

// datasetParser turns the rows of zfs get into heads. datasetParser accepts rows only in the order
// in which zfs prints them: all properties of a dataset, then the next dataset. If a received
// property has a newline, the text after the newline is not the expected row, so the parser does
// not read this text as a row of another dataset.
type datasetParser struct {
	properties []string
	heads      []Dataset
	seen       map[string]bool
	blind      bool // prevsnap is not among the properties
	at         int  // the number of properties that were read of the last head
}

func (p *datasetParser) line(line string) error {
	f := strings.Split(line, "\t")
	if len(f) != 4 {
		return unreadable("unexpected line %q: %d columns instead of 4", clip(line), len(f))
	}
	if p.at == 0 || p.at == len(p.properties) {
		if p.seen[f[0]] || !ValidDataset(f[0]) {
			return unreadable("unexpected line %q: dataset listed twice, or not a name", clip(line))
		}
		p.seen[f[0]] = true
		p.heads = append(p.heads, Dataset{Name: f[0], NewestUnknown: p.blind})
		p.at = 0
	}
	h := &p.heads[len(p.heads)-1]
	if f[0] != h.Name || f[1] != p.properties[p.at] {
		return unreadable("unexpected line %q: expected %s of %s", clip(line), p.properties[p.at], h.Name)
	}
	p.at++
	if err := h.set(f[1], f[2], f[3]); err != nil && h.Problem == "" {
		h.Problem = fmt.Sprintf("%s: %v", f[1], err)
	}
	return nil
}

// lacks returns an error if zfs exited without an error but printed no row of a requested dataset.
func (p *datasetParser) lacks(names []string) error {
	for _, name := range names {
		if !p.seen[name] {
			return unreadable("zfs get printed nothing about %s, and exited with status 0", name)
		}
	}
	return nil
}

// If zfs did not print all rows of the last dataset, end drops this dataset and returns an error.
func (p *datasetParser) end() error {
	if p.at != 0 && p.at != len(p.properties) {
		last := p.heads[len(p.heads)-1].Name
		p.heads = p.heads[:len(p.heads)-1]
		return unreadable("the output of zfs get ends in the middle of %s", last)
	}
	return nil
}

func (h *Dataset) set(property, value, source string) (err error) {
	switch property {
	case "guid":
		h.GUID, err = strconv.ParseUint(value, 10, 64)
	case "creation":
		h.Creation, err = parseTime(value)
	case "origin":
		h.Origin = unset(value)
	case prevsnap:
		var known bool
		h.NewestSnapshot, known = h.newestOf(value)
		h.NewestUnknown = !known
	case "inconsistent":
		h.Inconsistent = value == "1" || value == "yes" || value == "on"
	case "receive_resume_token":
		h.Token = unset(value)
		h.ResumeToken = h.Token != ""
	case "written":
		h.Written, err = parseBytes(value)
	case "available":
		h.Available, err = parseBytes(value)
	case "refreservation":
		h.RefReservation, err = parseBytes(value)
	case "usedbyrefreservation":
		h.UsedByRefReservation, err = parseBytes(value)
	case snapshotsChanged:
		if unset(value) != "" {
			var changed time.Time
			changed, err = parseTime(value)
			h.SnapshotsChanged = changed.Unix()
		}
	case LabelRunning:
		h.Running = parseProperty(value, source)
	case LabelNoSnap:
		h.NoSnap = parseProperty(value, source)
	}
	return err
}

// newestOf returns the name of the newest snapshot from the value of prevsnap, and true if
// snapwatch understands the value. A clone without snapshots of its own has its origin as prevsnap.
// If prevsnap names neither a snapshot of the dataset nor its origin, this ZFS uses prevsnap
// differently, so the newest snapshot is unknown.
func (h *Dataset) newestOf(value string) (name string, known bool) {
	name, own := strings.CutPrefix(value, h.Name+"@")
	switch {
	case own && name != "":
		return name, true
	case value == "-", value != "" && value == h.Origin:
		return "", true
	}
	return "", false
}

func parseProperty(value, source string) Property {
	p := Property{Value: unset(value)}
	switch {
	case source == "local":
		p.Source = SourceLocal
	case source == "received":
		p.Source, p.Received = SourceReceived, p.Value
	case strings.HasPrefix(source, "inherited"):
		p.Source = SourceInherited
	case source == "default":
		p.Source = SourceDefault
	}
	return p
}

// unset replaces "-", with which zfs marks a property without a value, by "".
func unset(value string) string {
	if value == "-" {
		return ""
	}
	return value
}

// parseBytes parses a number of bytes in the output of zfs. For "-", which means no value,
// parseBytes returns 0.
func parseBytes(value string) (uint64, error) {
	if unset(value) == "" {
		return 0, nil
	}
	return strconv.ParseUint(value, 10, 64)
}

// endOfTime is the start of the year 9999, as a Unix time. JSON cannot express a time after that
// year.
const endOfTime = 253370764800

// parseTime parses a Unix time in seconds from the output of zfs. The creation time of a received
// snapshot may be any number that the stream contains.
func parseTime(seconds string) (time.Time, error) {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n <= 0 || n >= endOfTime {
		return time.Unix(0, 0), fmt.Errorf("%q is not a time between 1970 and 9999, in seconds", clip(seconds))
	}
	return time.Unix(n, 0), nil
}

// clip shortens a line of zfs's output for an error message.
func clip(line string) string {
	const most = 200
	if len(line) > most {
		return line[:most] + "…"
	}
	return line
}

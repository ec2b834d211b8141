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

// headProperties are asked of every dataset, in this order. The values of user properties
// are free text, which a received stream may have chosen, with line ends that pass for rows
// of another dataset. So a property of ZFS's own comes last: after whatever such rows there
// are zfs still prints that one, which then does not fit.
var (
	headProperties  = slices.Concat(nativeProperties[:len(nativeProperties)-1], labelProperties)
	labelProperties = []string{LabelRunning, LabelNoSnap, "guid"}
	// nativeProperties are those whose values nobody can choose.
	nativeProperties = []string{
		"creation", "origin", prevsnap, "inconsistent", "receive_resume_token", "written", snapshotsChanged, "guid",
	}
)

// Properties that not every ZFS has. Asking for one that it does not know fails the
// call.
const (
	// prevsnap is not documented, so it may go any day (docs/zfs-versions.md).
	prevsnap = "prevsnap"
	// snapshotsChanged came with OpenZFS 2.2.
	snapshotsChanged = "snapshots_changed"
)

// Children lists the filesystems and volumes directly below each of the parents,
// all of one pool, with one zfs process. An error with heads is a [*command.Error] of a
// zfs that ended by itself and complained; what it printed of these is whole. Where a
// label makes the list unreadable, it takes some more processes.
func (r Reader) Children(ctx context.Context, parents ...string) ([]Dataset, error) {
	heads, err := r.labelled(ctx, []string{"-d", "1"}, parents)
	return without(heads, parents), err
}

// Descendants lists the filesystems and volumes anywhere below the roots, all of
// one pool, and the roots themselves, as [Reader.Children] does.
func (r Reader) Descendants(ctx context.Context, roots ...string) ([]Dataset, error) {
	return r.labelled(ctx, []string{"-r"}, roots)
}

// DescendantsUnlabelled is [Reader.Descendants] without the user properties.
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

// heads asks with zfs get and not with zfs list, which does not tell the source of
// a property. It does not ask for the received values: zfs then reads each dataset
// again for every single property, which takes ten times as long ([Reader.Received]).
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
			return nil, err // it was killed, or what it printed cannot be read
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

// withoutUnknown leaves out the property that zfs did not know, one of those that it
// may not if it does not say which. That is a usage error, which costs no I/O.
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

// datasetParser turns the rows of zfs get into heads. It insists on the order zfs
// prints them in, every property of a dataset and then the next dataset, so that a
// newline inside a received property cannot pass for a row of another dataset.
type datasetParser struct {
	properties []string
	heads      []Dataset
	seen       map[string]bool
	blind      bool // the newest snapshot is not asked for
	at         int  // how many properties of the last head were read
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

// lacks finds a dataset that was asked for and of which nothing was printed, though zfs
// complained of nothing.
func (p *datasetParser) lacks(names []string) error {
	for _, name := range names {
		if !p.seen[name] {
			return unreadable("zfs get printed nothing of %s, and ended well", name)
		}
	}
	return nil
}

// end drops a head that is not whole, and says so.
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
		if unset(value) != "" {
			h.Written, err = strconv.ParseUint(value, 10, 64)
		}
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

// newestOf reads prevsnap, and reports whether it could. A clone without snapshots of its own
// shows its origin there. In a ZFS where the property means something else it tells nothing.
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

// unset turns zfs's mark for a property without a value into "".
func unset(value string) string {
	if value == "-" {
		return ""
	}
	return value
}

// endOfTime is where times end that can be written in JSON in every zone: the year 9999.
const endOfTime = 253370764800

// parseTime reads a time, which for a snapshot came with a stream.
func parseTime(seconds string) (time.Time, error) {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n <= 0 || n >= endOfTime {
		return time.Unix(0, 0), fmt.Errorf("%q is no time between 1970 and 9999, in seconds", clip(seconds))
	}
	return time.Unix(n, 0), nil
}

// clip shortens a line for an error message.
func clip(line string) string {
	const most = 200
	if len(line) > most {
		return line[:most] + "…"
	}
	return line
}

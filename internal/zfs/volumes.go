package zfs

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// Volume is a filesystem or volume as somebody sees it who wants to start a guest from a clone
// of it.
type Volume struct {
	// Size is how large it may become, in bytes: a volume's size, a filesystem's refquota; 0
	// where nothing limits it.
	Size uint64
	// Available is how much more can be written below it, in bytes.
	Available uint64
	// EncryptionRoot is the dataset with whose key it is encrypted, "" if it is not.
	EncryptionRoot string
	// Locked is true where that key is not loaded.
	Locked bool
}

// volumeProperties are asked for in this order. Nobody else chooses their values.
var volumeProperties = []string{"volsize", "refquota", "available", "encryptionroot", "keystatus"}

// Volumes reads what the named datasets, all of one pool, are to somebody who clones them. One
// that is gone is left out.
func (r Reader) Volumes(ctx context.Context, datasets []string) (map[string]Volume, error) {
	all := map[string]Volume{}
	for chunk := range slices.Chunk(datasets, namesPerCall) {
		at, name, v := 0, "", Volume{}
		argv := []string{"zfs", "get", "-Hp", "-o", "name,property,value", strings.Join(volumeProperties, ",")}
		err := r.lines(ctx, append(argv, chunk...), func(line string) error {
			f := strings.Split(line, "\t")
			if at == 0 && slices.Contains(chunk, f[0]) {
				name, v = f[0], Volume{}
			}
			if len(f) != 3 || f[0] != name || f[1] != volumeProperties[at] {
				return unreadable("unexpected line %q: not what was asked for", clip(line))
			}
			if err := v.set(f[1], f[2]); err != nil {
				return unreadable("%s of %s: %w", f[1], f[0], err)
			}
			if at++; at == len(volumeProperties) {
				all[name] = v
				at, name = 0, ""
			}
			return nil
		})
		switch {
		case err != nil && !OnlyMissing(err):
			return all, err
		case at != 0:
			return all, unreadable("the output of zfs get ends in the middle of a dataset")
		}
	}
	return all, nil
}

func (v *Volume) set(property, value string) (err error) {
	if value = unset(value); value == "" {
		return nil
	}
	number := uint64(0)
	switch property {
	case "encryptionroot":
		v.EncryptionRoot = value
		return nil
	case "keystatus":
		v.Locked = value != "available"
		return nil
	}
	if number, err = strconv.ParseUint(value, 10, 64); err != nil {
		return err
	}
	switch property {
	case "volsize", "refquota":
		v.Size = max(v.Size, number)
	case "available":
		v.Available = number
	}
	return nil
}

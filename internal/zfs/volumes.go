package zfs

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// Volume has the properties of a filesystem or volume that matter for starting a guest from a clone
// of it.
type Volume struct {
	// Size is the largest size in bytes that the dataset may have: a volume's volsize, or a
	// filesystem's refquota. Size is 0 if the size is not limited.
	Size uint64
	// Available is the number of bytes that can still be written to the dataset and its children.
	Available uint64
	// EncryptionRoot is the dataset whose key encrypts this dataset, "" if this dataset is not
	// encrypted.
	EncryptionRoot string
	// Locked is true if the key of the encryption root is not loaded.
	Locked bool
}

// volumeProperties are the properties that [Reader.Volumes] reads, in the order of the output. ZFS
// itself chooses the values of the volumeProperties, so no value can make the output unreadable.
var volumeProperties = []string{"volsize", "refquota", "available", "encryptionroot", "keystatus"}

// Volumes reads the properties of the named datasets that matter for starting guests from clones of
// these datasets. All datasets in one call of Volumes must be in one pool. Volumes leaves out a
// dataset that no longer exists.
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

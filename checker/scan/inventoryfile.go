package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"snapwatch/internal/files"
	"snapwatch/internal/zfs"
)

// inventoryFile is the content of the inventory's file.
type inventoryFile struct {
	Version int `json:"version"`
	Inventory
}

const inventoryVersion = 1

// ErrDamaged means that the inventory's file was read and is not valid. If the file cannot be read,
// the error is not ErrDamaged: the file may be valid and must not be overwritten.
var ErrDamaged = errors.New("damaged")

// LoadInventory reads an inventory from the file at path. If the file does not exist, or if only
// the command forget has written it, Disks in the result is nil.
func LoadInventory(path string) (Inventory, error) { return loadInventory(path, files.Read) }

func loadInventory(path string, read func(string) ([]byte, error)) (Inventory, error) {
	text, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Inventory{}, nil
	}
	if err != nil {
		return Inventory{}, fmt.Errorf("disks seen before: %w", err)
	}
	var file inventoryFile
	if err := json.Unmarshal(text, &file); err != nil {
		return Inventory{}, fmt.Errorf("disks seen before, %s is %w: %w", path, ErrDamaged, err)
	}
	if file.Version != inventoryVersion {
		return Inventory{}, fmt.Errorf("disks seen before, %s is %w: version %d is not known", path, ErrDamaged, file.Version)
	}
	for name := range file.Disks {
		if _, _, ok := zfs.ParseDiskName(zfs.Base(name)); !ok || !zfs.ValidDataset(name) {
			return Inventory{}, fmt.Errorf("disks seen before, %s is %w: %q is not a disk", path, ErrDamaged, name)
		}
	}
	return file.Inventory, nil
}

// Reopen is [LoadInventory] for the process that also writes the inventory's file. Reopen returns
// an error if another user may have written the file. Reopen renames a damaged file, and returns an
// empty inventory whose Lost describes the loss.
func Reopen(path string, now time.Time) (Inventory, error) {
	known, err := loadInventory(path, files.ReadPrivate)
	if !errors.Is(err, ErrDamaged) {
		return known, err
	}
	aside := path + ".broken"
	if moved := os.Rename(path, aside); moved != nil {
		return known, errors.Join(err, moved)
	}
	return Inventory{Lost: &Loss{At: now, Why: err.Error() + "; it is kept as " + aside}}, nil
}

// Save replaces the inventory's file at path atomically. All users may read the inventory's file.
func (s Inventory) Save(path string) error {
	text, err := json.MarshalIndent(inventoryFile{inventoryVersion, s}, "", " ")
	if err != nil {
		return fmt.Errorf("disks seen before: %w", err)
	}
	if err := files.Replace(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("disks seen before: %w", err)
	}
	return nil
}

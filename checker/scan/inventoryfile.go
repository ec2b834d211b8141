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

// inventoryFile is the form on disk.
type inventoryFile struct {
	Version int `json:"version"`
	Inventory
}

const inventoryVersion = 1

// ErrDamaged is the error for a memory that was read and cannot be understood. One that
// cannot be read may be whole, and must not be written over.
var ErrDamaged = errors.New("damaged")

// LoadInventory reads the file at path; one that is not there has no Disks at all, nor has one
// of which only forget has written.
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
			return Inventory{}, fmt.Errorf("disks seen before, %s is %w: %q is no disk", path, ErrDamaged, name)
		}
	}
	return file.Inventory, nil
}

// Reopen is [LoadInventory] for who keeps the file: one that another user may have written is
// not believed; one that is damaged is put aside, and the inventory tells of the loss instead.
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

// Save writes the file at path as one step, readable by all.
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

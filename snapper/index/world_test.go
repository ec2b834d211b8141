package index

import (
	"syscall"
	"time"
)

const (
	disk0 = "tank/data/vm-100-disk-0"
	disk1 = "tank/data/vm-100-disk-1"
)

var noon = time.Date(2026, time.July, 15, 12, 7, 0, 0, time.UTC)

func errno(n syscall.Errno) *syscall.Errno { return &n }

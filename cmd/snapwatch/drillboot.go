package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	drillrun "snapwatch/drill/run"
)

// drillBootCmd is `snapwatch drill-boot-qemu`, a program for drill.boot in the configuration. drill
// starts it.
type drillBootCmd struct {
	Console string   `placeholder:"TEXT" help:"The guest counts as started, too, when its serial console prints this text."`
	Arg     []string `sep:"none" placeholder:"WORD" help:"One more argument for QEMU; may be repeated."`
	Disks   []string `arg:"" help:"The guest's volumes, with the devices of their clones, as VOLUME=DEVICE."`
}

// Run implements the command.
func (c *drillBootCmd) Run(env *environment) error {
	seconds, err := strconv.Atoi(env.Getenv("SNAPWATCH_SECONDS"))
	if err != nil {
		return &exit{drillrun.NotTried, fmt.Errorf("SNAPWATCH_SECONDS: %w", err)}
	}
	q := drillrun.QEMU{Config: env.Getenv("SNAPWATCH_CONFIG"), Devices: map[string]string{}, Console: c.Console, Args: c.Arg}
	for _, d := range c.Disks {
		volume, device, found := strings.Cut(d, "=")
		if !found {
			return &exit{drillrun.NotTried, fmt.Errorf("%q is not VOLUME=DEVICE", d)}
		}
		if q.Devices[volume] != "" {
			return &exit{drillrun.NotTried, fmt.Errorf("two volumes are called %s, on different storages: it is unknown which device is which", volume)}
		}
		q.Devices[volume] = device
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	by, err := q.Boot(ctx)
	switch {
	case errors.Is(err, drillrun.ErrNotTried):
		return &exit{drillrun.NotTried, err}
	case err != nil:
		return &exit{1, err}
	}
	_, err = fmt.Fprintln(env.Stdout, by)
	return err
}

package main

import (
	"encoding/json"

	"snapwatch/checker"
	"snapwatch/drill"
	drillrun "snapwatch/drill/run"
)

// drillInspectCmd is `snapwatch drill-inspect`. A person never types it: drill starts it, because
// no signal ends a process that reads a device which hangs.
type drillInspectCmd struct {
	Clone string  `arg:"" help:"The device of a volume, or the dataset of a container."`
	Mount string  `help:"Mount the dataset here."`
	From  float64 `help:"Read from this share of all bytes on."`
	To    float64 `help:"Read up to this share of all bytes; 0 reads nothing."`
}

// Run implements the command. It prints what it found as JSON.
func (c *drillInspectCmd) Run(env *environment) error {
	var part *checker.Part
	if c.To > 0 {
		part = &checker.Part{From: c.From, To: c.To}
	}
	inspect := drillrun.Inspect
	if c.Mount != "" {
		inspect = func(dataset string, part *checker.Part) (drill.Inspection, error) {
			return drillrun.InspectMounted(dataset, c.Mount, part)
		}
	}
	found, err := inspect(c.Clone, part)
	if err != nil {
		return &exit{1, err}
	}
	return json.NewEncoder(env.Stdout).Encode(found)
}

package quiesce

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"snapwatch/internal/command"
)

// agent asks the QEMU guest agent in a virtual machine, by way of pvesh: the agent's
// socket belongs to Proxmox, and serves one client at a time (facts: Proxmox 7).
type agent struct{ vmid int }

// Frozen implements [Freezer]. Proxmox pings the agent first, for three seconds, so
// that one that does not answer is an error.
func (a agent) Frozen(ctx context.Context) (bool, error) {
	var status string
	if err := a.call(ctx, "fsfreeze-status", &status); err != nil {
		return false, err
	}
	switch status {
	case "thawed":
		return false, nil
	case "frozen":
		return true, nil
	}
	return false, fmt.Errorf("the agent of guest %d says %q, not thawed or frozen", a.vmid, status)
}

// Freeze implements [Freezer]. An agent that is frozen refuses to freeze: that was
// somebody else, since the watchdog asks once.
func (a agent) Freeze(ctx context.Context) error {
	var frozen int
	err := a.call(ctx, "fsfreeze-freeze", &frozen)
	if err != nil && strings.Contains(err.Error(), "has been disabled") {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if err == nil && frozen == 0 {
		return fmt.Errorf("the agent of guest %d found no file system to freeze", a.vmid)
	}
	return err
}

// Thaw implements [Freezer].
func (a agent) Thaw(ctx context.Context) error {
	var thawed int
	err := a.call(ctx, "fsfreeze-thaw", &thawed)
	if err != nil && strings.Contains(err.Error(), fmt.Sprintf("VM %d is not running", a.vmid)) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	// What QEMU's agent for Windows says when VSS, which holds writes for ten seconds at most,
	// gave up before (qga/vss-win32/requester.cpp).
	if err != nil && strings.Contains(err.Error(), "hold writes") {
		return fmt.Errorf("%w: %w", ErrLapsed, err)
	}
	return err
}

// call makes one call. What goes wrong in the guest comes with exit status 0, as an
// object where the result should be.
func (a agent) call(ctx context.Context, what string, into any) error {
	path := fmt.Sprintf("/nodes/localhost/qemu/%d/agent/%s", a.vmid, what)
	text, err := command.Output(ctx, command.Cmd{Argv: []string{"pvesh", "create", path, "--output-format", "json"}})
	if err != nil {
		return err
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	err = json.Unmarshal([]byte(text), &answer)
	if err == nil && len(answer.Result) == 0 {
		err = fmt.Errorf("no result in it")
	}
	if err != nil {
		return fmt.Errorf("pvesh create %s: the answer is not the JSON expected: %w: %.200s", path, err, text)
	}
	var failed struct {
		Error *struct {
			Desc string `json:"desc"`
		} `json:"error"`
	}
	if json.Unmarshal(answer.Result, &failed) == nil && failed.Error != nil {
		return fmt.Errorf("the agent of guest %d refuses %s: %s", a.vmid, what, failed.Error.Desc)
	}
	if err := json.Unmarshal(answer.Result, into); err != nil {
		return fmt.Errorf("pvesh create %s: the result is not what is expected: %w: %.200s", path, err, text)
	}
	return nil
}

package quiesce

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"snapwatch/internal/command"
)

// agent freezes a virtual machine through its QEMU guest agent, by way of pvesh. snapwatch does not
// use the agent's socket, because the socket belongs to Proxmox and serves one client at a time.
type agent struct{ vmid int }

// Frozen implements [Freezer]. Proxmox first pings the agent for three seconds, so an agent that
// does not answer gives an error.
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

// Freeze implements [Freezer]. An agent refuses to freeze a guest that is already frozen. The
// watchdog asks the agent to freeze only once, so if the guest is already frozen, a program other
// than snapwatch froze it. An agent that is not allowed to freeze refuses in similar words, and in
// older versions of QEMU in the same words.
func (a agent) Freeze(ctx context.Context) (frozen int, err error) {
	err = a.call(ctx, "fsfreeze-freeze", &frozen)
	if err != nil && strings.Contains(err.Error(), "has been disabled") && !strings.Contains(err.Error(), "is not allowed") {
		if frozen, statusErr := a.Frozen(ctx); frozen || statusErr != nil {
			return 0, fmt.Errorf("%w: %w", ErrForeign, err)
		}
	}
	if err == nil && frozen == 0 {
		return 0, fmt.Errorf("the agent of guest %d found no file system to freeze", a.vmid)
	}
	return frozen, err
}

// Thaw implements [Freezer]. The agent returns the number of file systems that were frozen until
// the thaw. The agent returns zero if the guest was reset after the freeze, or if another program
// thawed the guest.
func (a agent) Thaw(ctx context.Context) (thawed int, err error) {
	err = a.call(ctx, "fsfreeze-thaw", &thawed)
	switch {
	case err == nil:
		return thawed, nil
	case strings.Contains(err.Error(), fmt.Sprintf("VM %d is not running", a.vmid)):
		return 0, fmt.Errorf("%w: %w", ErrGone, err)
	case strings.Contains(err.Error(), fmt.Sprintf("/%d.conf' does not exist", a.vmid)):
		return 0, fmt.Errorf("%w: it is not configured on this node any more; if it was migrated, thaw it there: %w", ErrGone, err)
	case strings.Contains(err.Error(), "hold writes"):
		// QEMU's agent for Windows returns an error about "hold writes" if VSS gave up before the
		// thaw. VSS holds writes for at most ten seconds (qga/vss-win32/requester.cpp).
		return 0, fmt.Errorf("%w: %w", ErrLapsed, err)
	}
	return 0, err
}

// call makes one call to the QEMU guest agent. For an error inside the guest, pvesh exits with
// status 0 and prints an object with the error in place of the result.
func (a agent) call(ctx context.Context, what string, into any) error {
	path := fmt.Sprintf("/nodes/localhost/qemu/%d/agent/%s", a.vmid, what)
	text, err := command.Output(ctx, command.Cmd{Argv: []string{"pvesh", "create", path, "--output-format", "json"}, DiesWithUs: true})
	if err != nil {
		return err
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	err = json.Unmarshal([]byte(text), &answer)
	if err == nil && len(answer.Result) == 0 {
		err = fmt.Errorf("the answer has no result")
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
		return fmt.Errorf("pvesh create %s: the result has an unexpected form: %w: %.200s", path, err, text)
	}
	return nil
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// agentCommands lists the commands of a guest agent that the stand-in for pvesh supports.
var agentCommands = []string{"ping", "fsfreeze-status", "fsfreeze-freeze", "fsfreeze-thaw"}

// pingTimeout is the time for which Proxmox waits for the first answer of a guest agent.
const pingTimeout = 3 * time.Second

// agent answers "pvesh create /nodes/localhost/qemu/ID/agent/WHAT". A guest with a socket
// /run/qemu-server/ID.qga has a real qemu-ga behind that socket. A guest with a file
// /run/standin/agent-ID has a simulated agent: this file contains the agent's state, frozen or
// thawed, and agent.log gets a line for each change. A test can request a fault of the agent's
// command WHAT for one guest: in the names of the fault's files, WHAT-ID then takes the place of
// WHAT.
func agent(args []string, stdout, stderr io.Writer) int {
	parts := strings.Split(strings.Trim(args[1], "/"), "/")
	if len(parts) != 6 || parts[0] != "nodes" || parts[1] != "localhost" || parts[2] != "qemu" || parts[4] != "agent" || !slices.Contains(agentCommands, parts[5]) {
		fmt.Fprintf(stderr, "No 'create' handler defined for '%s'\n", args[1])
		return 2
	}
	id, what := parts[3], parts[5]
	for _, sort := range []string{what, what + "-" + id} {
		if text, found := fault("fail", sort); found {
			fmt.Fprint(stderr, text)
			return 255
		}
		if _, found := fault("hang", sort); found {
			hang()
		}
		if text, found := fault("garbage", sort); found {
			fmt.Fprint(stdout, text)
			return 0
		}
	}
	result, err := ask(id, what)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 255
	}
	fmt.Fprintf(stdout, "{\"result\":%s}\n", result)
	return 0
}

func ask(id, what string) (json.RawMessage, error) {
	node, err := readNode("/etc/pve")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(node.guests, func(g guest) bool { return fmt.Sprint(g.vmid) == id && g.kind == "qemu" && g.node == node.name })
	if i < 0 {
		return nil, fmt.Errorf("configuration file 'nodes/%s/qemu-server/%s.conf' does not exist", node.name, id)
	}
	if node.guests[i].pid() == 0 {
		return nil, fmt.Errorf("VM %s is not running", id)
	}
	if state := filepath.Join(faultDir, "agent-"+id); exists(state) {
		return played(state, id, what)
	}
	return askReal(filepath.Join("/run/qemu-server", id+".qga"), what)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// played is the simulated guest agent: it answers one command. The argument `state` is the path of
// the file with the agent's state.
func played(state, id, what string) (json.RawMessage, error) {
	is, err := os.ReadFile(state)
	if err != nil {
		return nil, err
	}
	to := map[string]string{"fsfreeze-freeze": "frozen", "fsfreeze-thaw": "thawed"}[what]
	switch {
	case what == "fsfreeze-status":
		return json.Marshal(strings.TrimSpace(string(is)))
	case to == "":
		return json.RawMessage("{}"), nil
	case to == "thawed" && strings.TrimSpace(string(is)) == "thawed":
		return json.RawMessage("0"), nil
	case to == "frozen" && strings.TrimSpace(string(is)) == "frozen":
		return json.RawMessage(`{"error":{"class":"CommandNotFound","desc":"Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state"}}`), nil
	}
	err = note("agent.log", fmt.Sprint(id, " ", to, " ", time.Now().UnixNano()))
	if err = errors.Join(err, os.WriteFile(state+".new", []byte(to), 0o644), os.Rename(state+".new", state)); err != nil {
		return nil, err
	}
	return json.RawMessage("1"), nil
}

// askReal sends a command to a real qemu-ga in QEMU's JSON protocol, in which each command is one
// line.
func askReal(socket, what string) (json.RawMessage, error) {
	agent, err := net.DialTimeout("unix", socket, pingTimeout)
	if err != nil {
		return nil, errors.New("QEMU guest agent is not running")
	}
	defer agent.Close()
	answers := bufio.NewReader(agent)
	if err := agent.SetReadDeadline(time.Now().Add(pingTimeout)); err != nil {
		return nil, err
	}
	if _, err := call(agent, answers, "guest-ping"); err != nil {
		return nil, errors.New("QEMU guest agent is not running")
	}
	if err := agent.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return call(agent, answers, "guest-"+what)
}

func call(agent io.Writer, answers *bufio.Reader, command string) (json.RawMessage, error) {
	if _, err := fmt.Fprintf(agent, "{\"execute\":%q}\n", command); err != nil {
		return nil, err
	}
	line, err := answers.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var answer struct {
		Return json.RawMessage `json:"return"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return nil, fmt.Errorf("%w: %s", err, line)
	}
	if answer.Error != nil { // Proxmox returns such an error as a result, with exit status 0
		return json.RawMessage(`{"error":` + string(answer.Error) + `}`), nil
	}
	return answer.Return, nil
}

package main

import "snapwatch/internal/pve"

// readPVEWord is what this program is called with to read below /etc/pve for another.
const readPVEWord = "read-pve"

// readPVECmd is `snapwatch read-pve`, which every command starts that needs what stands
// below /etc/pve: while pmxcfs hangs, a process that reads there ends by no signal.
type readPVECmd struct{}

// Run answers the question on standard input.
func (readPVECmd) Run(env *environment) error { return pve.Answer(env.Stdin, env.Stdout) }

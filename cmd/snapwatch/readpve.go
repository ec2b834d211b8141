package main

import "snapwatch/internal/pve"

// readPVEWord is the hidden command with which snapwatch starts itself to read below /etc/pve.
const readPVEWord = "read-pve"

// readPVECmd is `snapwatch read-pve`, which reads files below /etc/pve for other commands of
// snapwatch, because no signal ends a process that reads there while pmxcfs hangs.
type readPVECmd struct{}

// Run reads a request from standard input and writes the answer to standard output.
func (readPVECmd) Run(env *environment) error { return pve.Answer(env.Stdin, env.Stdout) }

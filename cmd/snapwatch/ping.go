package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"snapwatch/config"
	"snapwatch/internal/ping"
)

const (
	// pingTime is how long pings may keep a command from its end, all together.
	pingTime = 10 * time.Second
	// pingBody is how much of what was said goes along with a ping, in bytes.
	pingBody = 4096
)

// head is the beginning of what is written to it. Several may write.
type head struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(p[:min(len(p), pingBody-h.text.Len())])
	return len(p), nil
}

// pinged runs work, and tells those that want to know of its runs: that it begins, and then
// that it did all, or what it said first where it did not. No ping changes its result.
func pinged(env *environment, all []config.Ping, run string, work func(*environment) error) error {
	pings := pingsOf(all, run)
	if len(pings) == 0 {
		return work(env)
	}
	starting, begun := context.WithCancel(context.Background())
	defer begun()
	started := make(chan struct{})
	go func() {
		defer close(started)
		sendAll(starting, io.Discard, pings, func(p config.Ping) config.Secret { return p.Start }, "")
	}()
	said := &head{}
	listened := *env
	listened.Stdout, listened.Stderr = io.MultiWriter(env.Stdout, said), io.MultiWriter(env.Stderr, said)
	err := work(&listened)
	begun() // or its answer may come after the end's
	<-started
	sendEnd(env, pings, said, err, pingTime)
	return err
}

// sendEnd reports how a run ended.
func sendEnd(env *environment, pings []config.Ping, said *head, err error, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	problems := io.Discard
	if env.Typed {
		problems = env.Stderr
	}
	if err == nil {
		sendAll(ctx, problems, pings, func(p config.Ping) config.Secret { return p.Success }, "")
		return
	}
	end, is := errors.AsType[*exit](err)
	body := said.text.String()
	if !is || end.err != nil {
		body += err.Error() + "\n"
	}
	if body == "" {
		body = err.Error() + "\n"
	}
	sendAll(ctx, problems, pings, func(p config.Ping) config.Secret { return p.Failure }, body)
}

func pingsOf(all []config.Ping, run string) []config.Ping {
	var pings []config.Ping
	for _, p := range all {
		if p.Run == run {
			pings = append(pings, p)
		}
	}
	return pings
}

// sendAll sends to the addresses that of returns, side by side. The problems are those of a
// server, which is named, and not of the run.
func sendAll(ctx context.Context, problems io.Writer, pings []config.Ping, of func(config.Ping) config.Secret, body string) {
	var sending sync.WaitGroup
	said := make([]string, len(pings))
	for i, p := range pings {
		address := of(p).Reveal()
		if address == "" {
			continue
		}
		sending.Go(func() {
			if err := ping.Send(ctx, address, p.Token.Reveal(), body); err != nil {
				u, _ := url.Parse(address) // which the configuration has seen to
				said[i] = fmt.Sprintf("snapwatch: no ping to %s: %v\n", u.Hostname(), err)
			}
		})
	}
	sending.Wait()
	fmt.Fprint(problems, strings.Join(said, ""))
}

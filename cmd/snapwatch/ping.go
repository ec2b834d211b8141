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
	// pingTime is the longest time that all pings together may delay the end of a command.
	pingTime = 10 * time.Second
	// pingBody is the largest part of a command's output that a ping sends, in bytes.
	pingBody = 4096
)

// head is a writer that keeps the first pingBody bytes. head is safe for concurrent use.
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

// pinged runs work. pinged requests the addresses that the configuration names for this command:
// once when work starts, and once when work ends, with success or with the beginning of the output.
// A failed ping does not change the result.
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
	begun() // abandon the start pings, which could otherwise arrive after the end pings
	<-started
	sendEnd(env, pings, said, err, pingTime)
	return err
}

// sendEnd pings the configured addresses to report that a run succeeded or failed.
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

// sendAll requests for each ping the address that of returns, all at the same time. The message
// about a failed ping names the server, since the run itself may have succeeded.
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
				u, _ := url.Parse(address) // the configuration accepts only valid URLs
				said[i] = fmt.Sprintf("snapwatch: no ping to %s: %v\n", u.Hostname(), err)
			}
		})
	}
	sending.Wait()
	fmt.Fprint(problems, strings.Join(said, ""))
}

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
	// A ping sends at most the first pingBody bytes of a command's output.
	pingBody = 4096
)

// head is a writer that keeps the first pingBody bytes of the text that is written to it. head is
// safe for concurrent use.
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

// withPing calls the function work. withPing also requests the addresses of pings in the
// configuration: once at the beginning of the call, and once at the end of the call. The request at
// the end reports success, or failure with the beginning of the output. A failed ping does not
// change the error that withPing returns.
func withPing(env *environment, all []config.Ping, run string, work func(*environment) error) error {
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
	begun() // end the pings of the start, so that none arrives after the pings of the end
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

// sendAll requests one address of each ping, all at the same time. The argument `of` is a function
// that returns this address for a ping. The message about a failed ping names the server, because
// the run itself may have succeeded.
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

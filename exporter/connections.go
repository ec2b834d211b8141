package exporter

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// How long clients may take, and how much they may take of this process.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// maxConnections are open at most, maxOfOne of them from one address.
	maxConnections = 256
	maxOfOne       = 64
)

// connections are those that are open. A new one beyond what may be takes the place of the
// one that has been idle for longest, or is closed where none is: who holds many keeps out
// nobody who asks.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]connection
	last int
}

type connection struct {
	host  string
	since int // of its last change, counted
	idle  bool
}

// changed is for [http.Server.ConnState].
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	switch state {
	case http.StateNew:
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			host = "" // a socket in the file system
		}
		if c.open == nil {
			c.open = map[net.Conn]connection{}
		}
		c.open[conn] = connection{host, c.last, true}
		c.makeRoom(host)
	case http.StateActive, http.StateIdle:
		if o, is := c.open[conn]; is {
			c.open[conn] = connection{o.host, c.last, state == http.StateIdle}
		}
	default:
		delete(c.open, conn)
	}
}

// makeRoom closes a connection where there are too many with the newest one, from host.
func (c *connections) makeRoom(host string) {
	ofOne := 0
	for _, o := range c.open {
		if o.host == host {
			ofOne++
		}
	}
	if ofOne <= maxOfOne && len(c.open) <= maxConnections {
		return
	}
	var victim net.Conn
	for conn, o := range c.open {
		eligible := o.idle && (ofOne <= maxOfOne || o.host == host)
		if eligible && (victim == nil || o.since < c.open[victim].since) {
			victim = conn
		}
	}
	delete(c.open, victim)
	if encrypted, ok := victim.(interface{ NetConn() net.Conn }); ok {
		victim = encrypted.NetConn() // a farewell could be waited for
	}
	_ = victim.Close()
}

// timed ends a request whose body does not come.
func timed(next http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.Body != nil {
			ctx, cancel := context.WithTimeout(r.Context(), limit)
			defer cancel()
			if end, has := ctx.Deadline(); has {
				control := http.NewResponseController(w)
				_ = control.SetReadDeadline(end)
				r.Body = timedBody{r.Body, control}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody has all the time again once it was read: its end lets the server notice a
// client that goes, for which the deadline would pass.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

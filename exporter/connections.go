package exporter

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// How long clients may take, and how much they may take of this process.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// maxConnections are open at most, maxOfOne of them from one address, or one network of
	// IPv6, of which one machine has all addresses.
	maxConnections = 256
	maxOfOne       = 64
)

// connections are those that are open. A new one beyond what may be takes the place of the
// one that has been idle for longest, or is closed where none is: who holds many keeps out
// nobody who asks. One that owes a request's body is idle, too.
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
		host := hostOf(conn)
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

// hostOf is who a connection is counted for, "" for a socket in the file system.
func hostOf(conn net.Conn) string {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	const network = 64
	address := from.Addr().Unmap().WithZone("")
	if address.Is6() {
		return netip.PrefixFrom(address, network).Masked().String()
	}
	return address.String()
}

// openConnection is where a request finds its connection in its context.
type openConnection struct{}

// noted is for [http.Server.ConnContext].
func (c *connections) noted(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, openConnection{}, func(owesBody bool) { c.owes(conn, owesBody) })
}

// owes notes whether a connection that is at work owes the rest of a body.
func (c *connections) owes(conn net.Conn, body bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, is := c.open[conn]; is {
		c.open[conn] = connection{o.host, o.since, body}
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
				owes, _ := r.Context().Value(openConnection{}).(func(bool))
				if owes == nil {
					owes = func(bool) {}
				}
				owes(true)
				r.Body = timedBody{r.Body, control, owes}
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
	owes    func(body bool)
}

func (b timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
		b.owes(false)
	}
	return n, err
}

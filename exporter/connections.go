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

// Limits on the time that clients may take and on the resources that they may use.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// maxConnections limits all open connections. maxOfOne limits the connections from one IPv4
	// address or one IPv6 network, since one machine can use all addresses of its network.
	maxConnections = 256
	maxOfOne       = 64
)

// connections limits the open connections. At the limit a new connection replaces the one that
// has been idle for longest; if none is idle, the new one is closed. So a client with many
// connections does not keep out others. A connection that has not sent its request's body counts
// as idle.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]connection
	last int
}

type connection struct {
	host  string
	since int // the number of the last change
	idle  bool
}

// changed is the hook for [http.Server.ConnState].
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

// hostOf returns the address or network for which a connection counts, "" for a socket in the
// file system.
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

// openConnection is the context key under which a request finds the owes function of its
// connection.
type openConnection struct{}

// noted is the hook for [http.Server.ConnContext].
func (c *connections) noted(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, openConnection{}, func(owesBody bool) { c.owes(conn, owesBody) })
}

// owes records whether the rest of a request's body is still missing on a connection.
func (c *connections) owes(conn net.Conn, body bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, is := c.open[conn]; is {
		c.open[conn] = connection{o.host, o.since, body}
	}
}

// makeRoom closes a connection if the newest one, from host, exceeds a limit.
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
		victim = encrypted.NetConn() // closing TLS could wait for the client
	}
	_ = victim.Close()
}

// timed sets a deadline for reading a request's body.
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

// timedBody removes the deadline when the body has been read. The server notices a client's
// disconnection by reading, for which a deadline would expire.
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

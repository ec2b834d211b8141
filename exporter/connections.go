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

// These constants limit the time that HTTP clients may take and the connections that they may
// use.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// maxConnections is the greatest number of open connections. maxOfOne is the greatest number
	// of connections from one IPv4 address or one IPv6 network, because one machine can use all
	// addresses of its IPv6 network.
	maxConnections = 256
	maxOfOne       = 64
)

// connections limits the open connections to the exporter. If the limit is reached, a new
// connection replaces the connection that has been idle for longest. If no connection is idle, the
// new connection is closed. A client with many connections therefore does not keep out other
// clients. A connection that has not sent its request's body counts as idle.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]connection
	last int
}

type connection struct {
	host  string
	since int // the number of the connection's last change, counted over all connections
	idle  bool
}

// changed records that a connection changed its state, as the hook
// [http.Server.ConnState].
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

// hostOf returns the client's IPv4 address or IPv6 network, whose connections are counted
// together; "" for a Unix socket.
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

// openConnection is a key in a request's context. The value under the key openConnection is the
// function that records whether the request's body is missing.
type openConnection struct{}

// storeHook is the hook [http.Server.ConnContext]. storeHook stores, in the context of a new
// connection, the function that records whether a request's body is missing.
func (c *connections) storeHook(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, openConnection{}, func(owesBody bool) { c.owes(conn, owesBody) })
}

// The method `owes` records whether a client still has to send the rest of a request's body on a
// connection.
func (c *connections) owes(conn net.Conn, body bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, is := c.open[conn]; is {
		c.open[conn] = connection{o.host, o.since, body}
	}
}

// makeRoom closes one connection if there are too many connections from host, or too many from all
// hosts together.
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

// timed returns a handler that first sets a deadline for reading the request's body, and then calls
// the handler `next`.
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

// timedBody is a request's body that removes the read deadline when the body has been read. A read
// deadline that passes after the body was read would make the server believe that the client has
// disconnected.
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

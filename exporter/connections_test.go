package exporter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// playedConn is a fake network connection from a given address.
type playedConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *playedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(c.from), Port: 1}
}

func (c *playedConn) Close() error {
	c.closed = true
	return nil
}

// A client that opens many connections gets only its share of the connections, so that other
// clients can connect.
func TestConnections(t *testing.T) {
	var c connections
	enter := func(from string, states ...http.ConnState) *playedConn {
		conn := &playedConn{from: from}
		for _, s := range append([]http.ConnState{http.StateNew}, states...) {
			c.changed(conn, s)
		}
		return conn
	}
	scraper := enter("192.0.2.1", http.StateActive)
	first := enter("192.0.2.9")
	for range 5000 {
		enter("192.0.2.9")
	}
	assert.Len(t, c.open, 1+maxOfOne)
	assert.True(t, first.closed, "the one that is idle for longest goes")
	assert.False(t, scraper.closed)
	for i := range maxOfOne + 10 {
		last := enter("192.0.2.10", http.StateActive)
		assert.Equal(t, i >= maxOfOne, last.closed, "those at work are not cut off")
	}
	assert.Len(t, c.open, 1+2*maxOfOne)
	for i := range 5000 {
		enter(fmt.Sprintf("192.0.%d.%d", 3+i/250, i%250))
	}
	assert.Len(t, c.open, maxConnections)
	assert.False(t, scraper.closed)
	late := enter("192.0.2.2", http.StateActive)
	assert.False(t, late.closed, "there is room for who asks")
	for i := range 5000 {
		enter(fmt.Sprintf("2001:db8::%x:%x", i, i), http.StateActive)
	}
	inNetwork := 0
	for _, o := range c.open {
		if strings.HasPrefix(o.host, "2001:db8:") {
			inNetwork++
		}
	}
	assert.Equal(t, maxOfOne, inNetwork, "one machine has all addresses of a network")
	c.changed(late, http.StateIdle)
	c.changed(late, http.StateClosed)
	assert.Len(t, c.open, maxConnections-1)
}

// Requests whose bodies never arrive, to any path, do not prevent scrapes.
func TestBodiesThatDoNotComeKeepNobodyOut(t *testing.T) {
	r := newRig(t, world())
	live := server().server(r.Store)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer live.Close()
	go func() { _ = live.Serve(l) }()
	for i := range maxOfOne {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		path := []string{"/nowhere", "/api/v1/compare"}[i%2]
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", path)
		require.NoError(t, err)
	}
	time.Sleep(300 * time.Millisecond)
	for range 3 {
		get, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + l.Addr().String() + "/-/healthy")
		require.NoError(t, err)
		require.NoError(t, get.Body.Close())
	}
}

// inUse returns the memory that this process uses, in bytes.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// Idle connections, and requests whose bodies do not arrive, do not prevent scrapes, take little
// memory, and are closed by the server. While many idle connections are open, the server still
// refuses a request for the page under another host name.
func TestServerUnderSiege(t *testing.T) {
	r := newRig(t, world())
	s := server()
	live := s.server(r.Store)
	live.Handler = timed(s.Handler(r.Store), 200*time.Millisecond)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer live.Close()
	go func() { _ = live.Serve(l) }()
	var all []net.Conn
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		all = append(all, conn)
		return conn
	}
	defer func() {
		for _, conn := range all {
			_ = conn.Close()
		}
	}()
	idle := 5000
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < 8000 {
		idle = 4 * maxOfOne
	}
	before, memory := runtime.NumGoroutine(), inUse()
	for range idle {
		dial()
	}
	few := func() bool { return runtime.NumGoroutine() <= before+2*maxOfOne }
	assert.Eventually(t, few, 10*time.Second, 10*time.Millisecond, "the server keeps few")
	foreign, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String()+"/", nil)
	require.NoError(t, err)
	for range 1000 {
		conn := dial()
		_, _ = fmt.Fprintf(conn, "POST /api/v1/compare HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{")
	}
	assert.Eventually(t, few, 10*time.Second, 10*time.Millisecond, "nor does it keep those that owe a body")
	foreign.Host = "evil.example"
	refused, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(foreign)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	assert.Equal(t, http.StatusForbidden, refused.StatusCode)
	// This process also has the clients' ends of the connections, which take a few kB each.
	assert.Less(t, inUse()-memory, int64(len(all)*8<<10+16<<20))
	get, err := http.Get("http://" + l.Addr().String() + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(get.Body)
	require.NoError(t, err)
	assert.Contains(t, string(text), "snapwatch_disk_state")
	require.NoError(t, get.Body.Close())
	closed := 0
	for _, conn := range all {
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Microsecond))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset") {
			closed++
		}
	}
	assert.GreaterOrEqual(t, closed, idle-2*maxOfOne)

	for _, head := range []string{"POST /api/v1/compare HTTP/1.1\r\nContent-Type: application/json\r\n", "GET / HTTP/1.1\r\n", "POST /nowhere HTTP/1.1\r\n"} {
		conn := dial()
		_, err := fmt.Fprintf(conn, "%sHost: localhost\r\nContent-Length: 1000\r\n\r\n{", head)
		require.NoError(t, err)
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err = io.Copy(io.Discard, bufio.NewReader(conn))
		assert.NoError(t, err, "the server answers, and ends the connection: %s", head)
	}
}

//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// pinged is a service that receives the pings of runs; all sites can reach it.
type pinged struct {
	mu   sync.Mutex
	told []string
}

func (p *pinged) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, r.URL.Path+" "+string(body))
}

// take returns the pings since the last call of take.
func (p *pinged) take() (told []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told, p.told = p.told, nil
	return told
}

// newPinged starts a pinged service on the machine's address in the sites' network.
func newPinged(t *testing.T) (*pinged, string) {
	t.Helper()
	p := &pinged{}
	listener, err := net.Listen("tcp", "192.0.2.254:0")
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(p)
	require.NoError(t, server.Listener.Close())
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return p, server.URL
}

// twoSites types the commands of docs/two-sites.md on A and on C.
type twoSites struct {
	*world
	page  *shown
	names []string // pairs: a text of the page, and its replacement in the lab
	work  string   // C's configuration as written so far
}

// next returns the page's next block that begins with the given text.
func (w *twoSites) next(begins string, words ...string) string {
	w.t.Helper()
	text := w.page.block("docs/two-sites.md", begins)
	for i := 0; i < len(words); i += 2 {
		require.Contains(w.t, text, words[i])
	}
	return strings.NewReplacer(append(words, w.names...)...).Replace(text)
}

// Times and numbers in the printed texts differ from run to run.
var (
	lasting = regexp.MustCompile(`(?:\d+(?:\.\d+)?(?:ms|[dhms]))+\b`)
	number  = regexp.MustCompile(`\d+`)
)

// prints asserts that the printed text is equal to the text that the page shows, except for times
// and numbers.
func (w *twoSites) prints(begins, printed string) {
	w.t.Helper()
	plain := func(text string) string {
		return number.ReplaceAllString(lasting.ReplaceAllString(strings.Join(strings.Fields(text), " "), "0s"), "0")
	}
	assert.Contains(w.t, plain(printed), plain(w.next(begins)))
}

// configure appends text to C's configuration.
func (w *twoSites) configure(text string) {
	w.t.Helper()
	w.work += text
	require.NoError(w.t, w.c.WriteFile("/etc/snapwatch/config.yaml", w.work))
}

// cron runs the command of a line in /etc/cron.d on C, as the line's user and with cron's PATH.
func (w *twoSites) cron(file string) site.Result {
	w.t.Helper()
	text, err := w.c.ReadFile("/etc/cron.d/" + file)
	require.NoError(w.t, err)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	line := strings.Fields(lines[len(lines)-1])
	path := "/usr/bin:/bin"
	for _, setting := range lines {
		if is, found := strings.CutPrefix(setting, "PATH="); found {
			path = is
		}
	}
	// The package installs snapwatch in /usr/bin; in the lab, snapwatch is in BinDir.
	user, command := line[5], "PATH="+site.BinDir+":"+path+"; "+strings.Join(line[6:], " ")
	require.Contains(w.t, text, "MAILTO=root\n", "or cron mails to %s", user)
	r, err := w.c.RunAs(w.ctx, user, "sh", "-c", command)
	require.NoError(w.t, err)
	w.t.Logf("cron of C: %s\n%s%s-> %d", command, r.Stdout, r.Stderr, r.Code)
	return r
}

// TestTwoSites types all commands of docs/two-sites.md, from two hosts without snapwatch to the
// alarm and to the page's end.
func TestTwoSites(t *testing.T) {
	const a = "ta/data/vm-100-disk-0"
	w := &twoSites{world: newNetwork(t)}
	w.page = w.shown()
	service, address := newPinged(t)
	w.names = []string{
		"root@a:rpool/", "ta/", "rpool/data", "ta/data", "tank/from-a", "tc/from-a", "https://hc-ping.com", address,
		"cluster: a ", "cluster: pve ", "guest 100 of a ", "guest 100 of pve ", "/usr/bin/snapwatch", site.BinDir + "/snapwatch",
	}
	for _, s := range []*site.Site{w.a, w.c} {
		w.terminal(s, `exec sh -c "$*"`)
	}
	require.NoError(t, w.c.Remove("/var/lib/snapwatch-exporter")) // on C no exporter runs yet
	require.NoError(t, w.c.WriteFile("/etc/hosts", "192.0.2.1 a\n"))
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)

	t.Log("2, 3, 4")
	w.prints("1 snapshot made", w.typed(w.a, w.next("snapwatch snap")))
	require.Equal(t, []string{"daily"}, w.classes(a))
	w.typed(w.c, w.next("zfs create"))
	require.NoError(t, w.c.WriteFile("/etc/cron.d/replicate", w.next("MAILTO=root\nPATH=")))
	w.configure(w.next("role: replica"))
	w.prints("OK: ", w.typed(w.c, w.next("snapwatch config check")))

	t.Log("5")
	w.typed(w.c, w.next("install -d"))
	mail := w.next("MAILTO=root\n*/10")
	assert.Equal(t, mail, w.page.block("docs/notifications.md", "MAILTO=root"))
	require.NoError(t, w.c.WriteFile("/etc/cron.d/snapwatch-check", mail))
	first := w.cron("snapwatch-check")
	assert.Equal(t, "", first.Stdout+first.Stderr)

	t.Log("6")
	w.typed(w.a, w.next("openssl", "snapwatch-exporter", "root"))
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/web.yaml", w.next("tls_server_config", "c: $2y$10$…", "c: "+replicaHash)))
	// In the lab, A also sees C's pool, so the configuration limits A's exporter to pool ta.
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/owner.yaml", "datasets: [ta]\n"))
	w.exporter(w.a, "--config=/etc/snapwatch/owner.yaml", "--web.config.file=/etc/snapwatch/web.yaml")
	certificate, err := w.a.ReadFile("/etc/snapwatch/tls.crt")
	require.NoError(t, err)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/a.crt", certificate))
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/keys", "replica\n"))
	w.typed(w.c, w.next("install -m 640", "/dev/stdin", "/etc/snapwatch/keys"))
	w.configure(w.next("owners:"))
	explain := w.next("snapwatch explain")
	w.prints("OK fresh", w.typed(w.c, explain))

	t.Log("7")
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+w.next("ping:\n  - run: snap")))
	w.configure(w.next("ping:\n  - run: check"))
	w.snap(w.a, "f48", "h24", "d30")
	assert.Empty(t, w.cron("replicate").Stderr)
	assert.Empty(t, w.cron("snapwatch-check").Stdout)
	assert.Equal(t, []string{"/UUID-OF-A ", "/UUID-OF-C "}, service.take())

	t.Log("8")
	w.typed(w.c, w.next("mv /etc/cron.d"))
	for _, after := range []time.Duration{25 * time.Minute, 20 * time.Minute} {
		w.advanceClock(after)
		w.snap(w.a, "f48", "h24", "d30")
		mail := w.cron("snapwatch-check")
		if after == 25*time.Minute {
			assert.Contains(t, mail.Stdout, "WARNING")
			continue
		}
		assert.Equal(t, 2, mail.Code)
		w.prints("worse: CRITICAL", mail.Stdout)
	}
	failed := service.take()
	assert.Contains(t, failed[len(failed)-1], "/UUID-OF-C/fail worse: CRITICAL", fmt.Sprint(failed))
	explain = w.next("snapwatch explain")
	w.prints("broken hop", w.typed(w.c, explain))

	t.Log("9")
	w.typed(w.c, w.next("mv /root"))
	assert.Empty(t, w.cron("replicate").Stderr)
	mended := w.cron("snapwatch-check")
	assert.Zero(t, mended.Code)
	w.prints("ended", mended.Stdout)
	assert.Equal(t, []string{"/UUID-OF-C "}, service.take())
}

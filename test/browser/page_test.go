package browser

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfstest"
)

// names are the disks in the table, in order.
func (b *tab) names() []string {
	b.t.Helper()
	return b.text(".disks .name b")
}

// press is a click on the link with that text.
func (b *tab) press(within, text string) {
	b.t.Helper()
	eval[bool](b, `(() => { window.leaving = true; const all = [...document.querySelectorAll('`+within+` a')];
		const link = all.find(a => a.textContent.trim().replace(/\s+/g, ' ').includes('`+text+`')); link.click(); return true })()`)
	b.await("!window.leaving && document.readyState === 'complete'")
}

func TestSorting(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched).url)
	b.open("/")
	assert.Equal(t, []string{"vm-104-disk-0", "vm-104-disk-1", "vm-112-disk-0", "vm-131-disk-0"}, b.names()[:4], "the worst first")
	assert.Equal(t, []string{"Verdict ▼"}, b.text("th[aria-sort=descending]"))
	b.press("thead", "Guest")
	assert.Equal(t, []string{"qemu/100", "qemu/101", "qemu/104", "lxc/110", "lxc/111"}, b.text(".disks th.guest")[:5])
	b.press("thead", "Age")
	assert.Equal(t, []string{"qemu/131", "qemu/190", "qemu/120", "qemu/104"}, b.text(".disks th.guest")[:4], "never snapshotted is older than old")
	b.press("thead", "Age")
	assert.Equal(t, []string{"Age ▲"}, b.text("th[aria-sort=ascending]"))
	assert.Equal(t, []string{"lxc/111", "lxc/110"}, b.text(".disks th.guest")[:2])
}

func TestFilters(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched).url)
	b.open("/")
	b.press("#counters", "stale")
	assert.Equal(t, []string{"vm-104-disk-0", "vm-104-disk-1", "vm-112-disk-0"}, b.names())
	assert.Equal(t, []string{"✕ 3 stale"}, b.text("#counters [aria-current]"))
	b.do(chromedp.SendKeys("#q", "VM-112"+kb.Enter))
	b.await("location.search.includes('q=VM-112') && document.readyState === 'complete'")
	assert.Equal(t, []string{"vm-112-disk-0"}, b.names(), "the search keeps the filter")
	b.press("#counters", "CRITICAL")
	assert.Equal(t, []string{"No disk is asked for by this filter. Show all"}, b.text(".empty"))
	b.press("#table", "show all")
	assert.Len(t, b.names(), 14)
	b.press("#pools", "archive")
	assert.Equal(t, []string{"vm-101-disk-0", "vm-100-disk-0"}, b.names())
}

// One disk gets old and fresh again before the eyes of a person who does nothing.
func TestADiskGoesStaleAndBack(t *testing.T) {
	w := estate()
	s := newSite(t, w)
	b := newTab(t, s.url)
	b.open("/?q=vm-101&pool=backup")
	assert.Equal(t, []string{"✓ fresh"}, b.text(".disks .badge"))
	eval[bool](b, "window.same = true")
	b.do(chromedp.Focus(".disks .name a"))
	s.forward(3 * time.Hour)
	s.read()
	b.refresh()
	assert.Equal(t, []string{"! stale"}, b.text(".disks .badge"))
	assert.Equal(t, []string{"3h8m"}, b.text(".disks .num"))
	assert.Contains(t, strings.Join(b.text(".disks .why"), ""), "limit 2h, limits.warning")
	assert.Equal(t, "backup/pve/vm-101-disk-0", eval[string](b, "document.activeElement.textContent"), "the focus stays")
	for i := range w.Datasets {
		if d := &w.Datasets[i]; d.Name == "backup/pve/vm-101-disk-0" {
			d.Snapshots = append(d.Snapshots, snapshot("hourly", 99, s.now().Add(-time.Minute)))
		}
	}
	s.fake.Set(w)
	s.read()
	b.refresh()
	assert.Equal(t, []string{"✓ fresh"}, b.text(".disks .badge"))
	assert.Equal(t, []string{"1m"}, b.text(".disks .num"))
	assert.True(t, eval[bool](b, "window.same"), "it was the same page all the time")
}

func TestASuspendedPool(t *testing.T) {
	s := newSite(t, estate())
	b := newTab(t, s.url)
	b.open("/")
	assert.Empty(t, b.text("#bars .bar"))
	s.fake.Pool("backup", "SUSPENDED")
	s.read()
	b.refresh()
	bars := b.text("#bars .bar")
	require.Len(t, bars, 1)
	assert.Contains(t, bars[0], "✕ pool backup cannot be read pool backup is suspended: its I/O failed (zpool status backup, then zpool clear backup)")
	assert.Len(t, b.names(), 14, "what was read last is still shown")
	s.forward(11 * time.Minute)
	s.read()
	b.refresh()
	assert.Contains(t, upper(b.text("#counters")), "12 UNREADABLE")
	assert.Equal(t, "/page/critical.svg", eval[string](b, "document.querySelector('link[rel=icon]').getAttribute('href')"))
	s.fake.Pool("backup", "ONLINE")
	s.read()
	b.refresh()
	assert.Empty(t, b.text("#bars .bar"))
}

func TestFiveThousandDisks(t *testing.T) {
	s := newSite(t, many(5000))
	b := newTab(t, s.url)
	b.open("/")
	assert.Less(t, eval[int](b, "document.querySelectorAll('*').length"), 5000)
	assert.Less(t, eval[int](b, "document.documentElement.outerHTML.length"), 300_000)
	assert.Equal(t, []string{"5000 all"}, b.text("#counters [aria-current]"))
	first := b.text(".disks th.guest")[0]
	assert.Contains(t, upper(b.text(".disks tbody tr:first-child .badge")), "STALE")
	b.press(".pages", "later")
	assert.NotEqual(t, first, b.text(".disks th.guest")[0])
	folded := b.text(".disks .rest")
	require.NotEmpty(t, folded)
	before := len(b.names())
	b.press(".disks tr:has(.rest)", "3 disks")
	assert.Len(t, b.names(), before+3)
}

func TestHostileTextIsShownHarmlessly(t *testing.T) {
	w := estate()
	hostile := []string{`<script>window.hacked = 1</script>`, `"><img src=x onerror="window.hacked = 1">`, `it's | "quoted" & <b>bold</b>`, "żółw 雪 🐢 \u202eabc"}
	for i, text := range hostile {
		w.Datasets[2+i].Labels = map[string][3]string{"label:running": {text, text, "received"}}
	}
	w.Datasets = append(w.Datasets, disk("backup/a b:c.d/vm-7-disk-0", "hourly", time.Minute))
	s := newSite(t, w)
	w.Faults = []zfstest.Fault{{Words: []string{"get", "archive"}, Exit: 1, Stderr: "cannot open '" + hostile[0] + "': I/O error\n"}}
	s.fake.Set(w)
	s.read()
	b := newTab(t, s.url)
	b.open("/?q=" + "%22%3E%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E&disk=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E&verdict=%7C")
	assert.Contains(t, upper(b.text("#table .shown")), upper([]string{`"><script>window.hacked=1</script>`}))
	b.open("/")
	b.refresh()
	labels := strings.Join(b.text(".disks .label"), "\n")
	for _, text := range hostile {
		assert.Contains(t, labels, text)
	}
	assert.Contains(t, strings.Join(b.text("#bars .error"), ""), hostile[0])
	b.press(".disks", "backup/a b:c.d/vm-7-disk-0")
	b.await("!!document.querySelector('.opened')")
	assert.Equal(t, []string{"backup/a b:c.d/vm-7-disk-0"}, b.text("#disk-head"))
	assert.False(t, eval[bool](b, "'hacked' in window"))
}

func TestItWorksWithoutScripts(t *testing.T) {
	s := newSite(t, estate(), watched)
	b := newTab(t, s.url)
	b.withoutScripts()
	b.open("/?verdict=stale")
	assert.Equal(t, "30", eval[string](b, "document.querySelector('noscript meta[http-equiv=refresh]').content"))
	assert.Equal(t, []string{"vm-104-disk-0", "vm-104-disk-1", "vm-112-disk-0"}, b.names())
	b.do(chromedp.Click(".disks tbody tr .name a"))
	require.Eventually(t, func() bool { return len(b.text("#disk-head")) == 1 }, timeout, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		b.do(chromedp.Reload())
		return eval[int](b, "document.querySelectorAll('.timeline .lane').length") == 6
	}, timeout, 10*time.Millisecond, "the snapshots are there when the page comes again")
	b.do(chromedp.Click("#pools summary"))
	assert.True(t, eval[bool](b, "document.querySelector('#pools details').open"))
}

func TestTheKeyboardReachesEverything(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched).url)
	b.open("/")
	b.do(chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "Skip to the disks", eval[string](b, "document.activeElement.textContent"))
	b.do(chromedp.KeyEvent(kb.Enter))
	b.await("document.activeElement.id === 'disks'")
	b.do(chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "q", eval[string](b, "document.activeElement.id"))
	reached := map[string]bool{}
	for range 80 {
		b.do(chromedp.KeyEvent(kb.Tab))
		reached[eval[string](b, "document.activeElement.textContent.trim()")] = true
	}
	for _, text := range []string{"backup/pve/vm-104-disk-0", "archive/pve/vm-101-disk-0", "last 1 listings"} {
		assert.Contains(t, reached, text)
	}
}

func TestItFitsAPhoneAndPaper(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched).url)
	b.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	b.open("/?disk=backup/pve/vm-104-disk-0")
	b.await("!!document.querySelector('.timeline')")
	assert.Empty(t, eval[[]string](b, "[...document.querySelectorAll('main *, header *')].filter(e => e.getBoundingClientRect().right > 360).map(e => e.outerHTML.slice(0, 80))"), "nothing is cut off")
	b.do(chromedp.EmulateViewport(1000, 800))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	assert.Equal(t, "none", eval[string](b, "getComputedStyle(document.querySelector('.find')).display"))
	assert.Equal(t, "rgb(255, 255, 255)", eval[string](b, "getComputedStyle(document.body).backgroundColor"))
}

func TestAnExporterThatIsGoneIsSaid(t *testing.T) {
	s := newSite(t, estate())
	b := newTab(t, s.url)
	b.forgives = "net::ERR"
	b.open("/")
	assert.True(t, eval[bool](b, "document.getElementById('lost').hidden"))
	s.close()
	b.refresh()
	assert.Contains(t, b.text("#lost")[0], "cannot be refreshed since")
	assert.Len(t, b.names(), 14, "the last page stays")
}

// violation is what axe finds.
type violation struct {
	ID, Impact, Help string
	Nodes            []string
}

func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	require.NoError(t, err, "make test-browser installs it")
	s := newSite(t, estate(), watched)
	s.fake.Pool("archive", "SUSPENDED")
	s.read()
	b := newTab(t, s.url)
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		for _, path := range []string{"/", "/?disk=backup/pve/vm-104-disk-0", "/?verdict=none", "/?q=vm-1&sort=age"} {
			for _, width := range []int64{1360, 390} {
				b.do(chromedp.EmulateViewport(width, 900))
				b.open(path)
				if strings.Contains(path, "disk=") {
					b.await("!!document.querySelector('.timeline')")
				}
				eval[json.RawMessage](b, string(axe)+"; true")
				found := eval[[]violation](b, `axe.run().then(r => r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 150))})))`)
				assert.Empty(t, found, "%s, %s, %d wide", path, theme, width)
			}
		}
	}
}

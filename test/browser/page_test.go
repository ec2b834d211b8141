package browser

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/exporter"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

// guests returns the guests in the page's table, in the table's order. disks returns the disks that
// the table shows: those of the guests whose rows are open.
func (b *tab) guests() []string {
	b.t.Helper()
	return b.text(".guests .who b")
}

func (b *tab) disks() []string {
	b.t.Helper()
	return b.text(".guests .name b")
}

// press clicks on a link and waits until the next page is loaded. The link is the first link with
// the given text in the elements that the CSS selector `within` selects.
func (b *tab) press(within, text string) {
	b.t.Helper()
	eval[bool](b, `(() => { window.leaving = true; const all = [...document.querySelectorAll('`+within+` a')];
		const link = all.find(a => a.textContent.trim().replace(/\s+/g, ' ').includes('`+text+`')); link.click(); return true })()`)
	b.await("!window.leaving && document.readyState === 'complete'")
}

func TestSorting(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig).url)
	b.open("/")
	assert.Equal(t, []string{"qemu/104", "qemu/112"}, b.guests(), "the worst first")
	assert.Equal(t, []string{"State ▼"}, b.text("th[aria-sort=descending]"))
	b.press("thead", "Guest")
	assert.Equal(t, []string{"qemu/100", "qemu/101", "qemu/104", "lxc/110", "lxc/111"}, b.guests()[:5])
	b.press("thead", "Age")
	assert.Equal(t, []string{"qemu/131", "qemu/190", "qemu/120", "qemu/104"}, b.guests()[:4], "never snapshotted is older than old")
	b.press("thead", "Age")
	assert.Equal(t, []string{"Age here ▲"}, b.text("th[aria-sort=ascending]"))
	assert.Equal(t, []string{"qemu/101", "lxc/111"}, b.guests()[:2])
}

func TestFilters(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig, asked).url)
	b.open("/")
	b.press("#counters", "stale")
	assert.Equal(t, []string{"build", "shop-db", "mail"}, b.guests())
	assert.Equal(t, []string{"✕ 3 stale"}, b.text("#counters [aria-current]"))
	b.do(chromedp.SendKeys("#q", "SHOP"+kb.Enter))
	b.await("location.search.includes('q=SHOP') && document.readyState === 'complete'")
	assert.Equal(t, []string{"shop-db"}, b.guests(), "the search keeps the filter")
	assert.Equal(t, []string{"vm-104-disk-0", "vm-104-disk-1"}, b.disks(), "the only one is open")
	b.press("#counters", "UNKNOWN")
	assert.Equal(t, []string{"No guest is asked for by this filter. Show all"}, b.text(".empty"))
	b.press("#table", "show all")
	assert.Len(t, b.guests(), 4)
	b.press("#pools", "archive")
	assert.Equal(t, []string{"web01", "web02"}, b.guests())
}

// A guest is one row of the table; a click shows the guest's disks, and a second click hides them.
// All healthy guests share one row of the table.
func TestGuestsOpenAndFold(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig, asked).url)
	b.open("/")
	assert.Equal(t, []string{"build", "shop-db", "backup-gw", "mail"}, b.guests())
	assert.Equal(t, []string{"✓ 6 guests OK 4 whole, 1 excluded, 1 receiving show"}, b.text(".fold"))
	assert.Equal(t, []string{"Guest", "State ▼", "Age here", "Age on pve1", "Age on pve2", "Why, and what to type on vault"}, b.text("thead th"))
	assert.Empty(t, b.disks())
	b.press(".guests", "shop-db")
	assert.Equal(t, []string{"vm-104-disk-0", "vm-104-disk-1"}, b.disks())
	assert.Equal(t, "true", eval[string](b, "document.querySelector('#guest-104-office a').getAttribute('aria-expanded')"))
	about := strings.Join(b.text(".about"), "")
	for _, words := range []string{"Guest 104 (shop-db) of office can be started here as of 2026-03-29 04:40:00, 7h20m ago", "look at the job that sends to this host", "snapwatch explain 104"} {
		assert.Contains(t, about, words)
	}
	b.press(".guests", "backup-gw")
	assert.Equal(t, []string{"vm-140-disk-0"}, b.disks(), "what is not here is named; one guest is open at a time")
	b.press(".guests", "backup-gw")
	assert.Empty(t, b.disks())
	b.press(".fold", "show")
	assert.Len(t, b.guests(), 10)
	b.refresh()
	assert.Len(t, b.guests(), 10, "it stays open")
	b.press(".fold", "hide")
	assert.Len(t, b.guests(), 4)
}

// If the copies of a guest say that the guest is off, but the guest's owner says that the guest
// runs, the page shows this contradiction in red.
func TestTheBlindSpotIsRed(t *testing.T) {
	silent := newTab(t, newSite(t, estate(), watchConfig).url)
	silent.open("/?guest=120")
	assert.Equal(t, []string{"– stopped"}, silent.text("#guest-120-office .badge"), "what this host sees alone")
	b := newTab(t, newSite(t, estate(), watchConfig, asked).url)
	b.open("/")
	assert.Equal(t, []string{"✕ stale"}, b.text("#guest-120-office .badge"))
	assert.Contains(t, b.text("#guest-120-office .site"), "4d runs there, nothing new for 7h")
	assert.Equal(t, []string{"the guest has run on pve2 for 7h and got no snapshot there: the newest snapshot here is from when the guest was off snapwatch explain 120"}, b.text("#guest-120-office .why"))
	for _, style := range []string{"('#guest-120-office .site small')).color", "('#guest-120-office .who')).borderLeftColor"} {
		assert.Equal(t, "rgb(176, 25, 25)", eval[string](b, "getComputedStyle(document.querySelector"+style))
	}
}

// A row of the page names a fault once: the age and the limit of the age are in the column of ages,
// and the column of reasons does not repeat them.
func TestARowRepeatsNothing(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig).url)
	b.open("/?ok=show")
	assert.Equal(t, "7h20m snapshot of 04:40 critical limit 6h", b.text("#guest-104-office .age")[0])
	assert.Equal(t, "limits.critical", eval[string](b, "document.querySelector('#guest-104-office .age small[title]').title"))
	assert.Equal(t, "no newer snapshot has arrived snapwatch explain 104", b.text("#guest-104-office .why")[0])
	assert.Equal(t, "", b.text("#guest-110-office .why")[0], "of one that is well nothing is new")
	assert.Contains(t, b.text("#guest-120-office .why")[0], "no owner has confirmed this", "a word of ours is explained")
	assert.Contains(t, b.text("#state .hint")[0], "unproven: the newest snapshot says that the guest is off")
	for _, height := range eval[[]float64](b, "[...document.querySelectorAll('.guests tbody tr')].map(r => r.getBoundingClientRect().height)") {
		assert.Less(t, height, 90.0, "no row is higher than three lines")
	}
}

// While a person leaves the page open and does not touch it, the page shows that a disk becomes
// stale and then fresh again.
func TestADiskGoesStaleAndBack(t *testing.T) {
	w := estate()
	s := newSite(t, w)
	b := newTab(t, s.url)
	b.open("/?q=subvol-110&pool=backup")
	assert.Equal(t, []string{"✓ fresh"}, b.text(".guests .disk .badge"))
	assert.Equal(t, []string{"✓ whole"}, b.text(".guests .guest .badge"))
	eval[bool](b, "window.same = true")
	b.do(chromedp.Focus(".guests .name a"))
	s.forward(3 * time.Hour)
	s.read()
	b.refresh()
	assert.Equal(t, []string{"! stale", "! stale"}, b.text(".guests .badge"))
	assert.Equal(t, []string{"3h23m snapshot of 11:37 warning limit 2h"}, b.text(".guests .guest .age"))
	assert.Equal(t, "backup/pve/subvol-110-disk-0", eval[string](b, "document.activeElement.textContent"), "the focus stays")
	for i := range w.Datasets {
		if d := &w.Datasets[i]; d.Name == "backup/pve/subvol-110-disk-0" {
			d.Snapshots = append(d.Snapshots, snapshot("hourly", 99, s.now().Add(-time.Minute)))
		}
	}
	s.fake.Set(w)
	s.read()
	b.refresh()
	assert.Equal(t, []string{"✓ whole", "✓ fresh"}, b.text(".guests .badge"))
	assert.Equal(t, []string{"1m", "1m"}, b.text(".guests .age time"))
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
	assert.Equal(t, []string{"qemu/190", "qemu/104", "qemu/112"}, b.guests(), "what was read last is still shown")
	s.forward(11 * time.Minute)
	s.read()
	b.refresh()
	assert.Contains(t, upper(b.text("#counters")), "9 UNREADABLE")
	assert.Equal(t, []string{"qemu/190", "qemu/104", "qemu/112"}, b.guests()[:3], "what was stale then comes first, the oldest before")
	assert.Equal(t, "was stale 7h20m when last read, 11m ago snapwatch explain 104", b.text("#guest-104 .why")[0])
	assert.Contains(t, b.text("#bars .bar")[0], "Last read 11m ago, at 2026-03-29 12:00:00 UTC. Of 12 disks 4 alarmed then.")
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
	assert.Less(t, eval[int](b, "document.querySelectorAll('*').length"), 1000)
	assert.Less(t, eval[int](b, "document.documentElement.outerHTML.length"), 30_000)
	assert.Equal(t, []string{"1667 all"}, b.text("#counters [aria-current]"))
	assert.Len(t, b.guests(), 10)
	assert.Contains(t, upper(b.text(".guests tbody tr:first-child .badge")), "STALE")
	b.press(".fold", "show")
	assert.Less(t, eval[int](b, "document.querySelectorAll('*').length"), 5000)
	assert.Less(t, eval[int](b, "document.documentElement.outerHTML.length"), 300_000)
	first := b.guests()[0]
	b.press(".pages", "later")
	assert.NotEqual(t, first, b.guests()[0])
	b.press(".guests tbody tr:last-child", "qemu/")
	assert.Len(t, b.disks(), 3)
}

// The page with five hundred guests has less than 300 kB, both if all guests are healthy and if all
// guests alarm.
func TestFiveHundredGuests(t *testing.T) {
	s := newSite(t, many(1500))
	b := newTab(t, s.url)
	measure := func(name, path string) {
		b.open(path)
		b.await("performance.getEntriesByName('first-contentful-paint').length > 0")
		paint := eval[float64](b, "performance.getEntriesByName('first-contentful-paint')[0].startTime")
		size := eval[int](b, "performance.getEntriesByType('navigation')[0].decodedBodySize")
		t.Logf("%s: %d bytes, first render after %.0f ms, %d rows", name, size, paint, len(b.guests()))
		assert.Less(t, size, 300_000, name) // the time of the first render depends on the test machine, so it has no limit
	}
	measure("folded", "/")
	measure("shown", "/?ok=show")
	s.forward(9 * time.Hour)
	s.read()
	measure("all alarm", "/")
	assert.Equal(t, []string{"500 CRITICAL"}, b.text("#counters .red:first-child")[:1])
}

func TestHostileTextIsShownHarmlessly(t *testing.T) {
	w := estate()
	hostile := []string{`<script>window.hacked = 1</script>`, `"><img src=x onerror="window.hacked = 1">`, `it's | "quoted" & <b>bold</b>`, "żółw 雪 🐢 \u202eabc"}
	for i, text := range hostile {
		w.Datasets[2+i].Labels = map[string][3]string{"label:running": {text, text, "received"}}
	}
	w.Datasets = append(w.Datasets, disk("backup/a b:c.d/vm-7-disk-0", "hourly", time.Minute))
	s := newSite(t, w, func(s *exporter.Settings) {
		s.Config.Owners.URLs = []string{"https://pve1"}
		s.Ask = func(_ context.Context, _ time.Duration, r checker.Report) (map[string][]checker.Evidence, []checker.NodeAnswer) {
			node := checker.NodeAnswer{Node: hostile[0], At: r.Now, Now: r.Now}
			for i, text := range hostile {
				vmid, _, _ := zfs.ParseDiskName(zfs.Base(w.Datasets[2+i].Name))
				node.Guests = append(node.Guests, checker.OwnedGuest{VMID: vmid, Name: text})
			}
			return nil, []checker.NodeAnswer{node}
		}
	})
	w.Faults = []zfstest.Fault{{Words: []string{"get", "archive"}, Exit: 1, Stderr: "cannot open '" + hostile[0] + "': I/O error\n"}}
	s.fake.Set(w)
	s.read()
	b := newTab(t, s.url)
	b.open("/?q=" + "%22%3E%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E&disk=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E&verdict=%7C")
	assert.Contains(t, upper(b.text("#table .shown")), upper([]string{`"><script>window.hacked=1</script>`}))
	b.open("/")
	b.refresh()
	assert.Contains(t, strings.Join(b.text("#bars .error"), ""), hostile[0])
	for i, text := range hostile {
		b.open("/?ok=show&disk=" + w.Datasets[2+i].Name)
		assert.Contains(t, b.text("#disk .label")[0], text)
		if i > 0 { // the first two disks belong to one guest
			assert.Contains(t, b.guests(), text, "and what its owner calls it")
		}
	}
	b.open("/?guest=7")
	b.press(".guests", "backup/a b:c.d/vm-7-disk-0")
	b.await("!!document.querySelector('.opened')")
	assert.Equal(t, []string{"backup/a b:c.d/vm-7-disk-0"}, b.text("#disk-head"))
	assert.False(t, eval[bool](b, "'hacked' in window"))
}

func TestItWorksWithoutScripts(t *testing.T) {
	s := newSite(t, estate(), watchConfig)
	b := newTab(t, s.url)
	b.withoutScripts()
	b.open("/?verdict=stale")
	assert.Equal(t, "30", eval[string](b, "document.querySelector('noscript meta[http-equiv=refresh]').content"))
	assert.Equal(t, []string{"qemu/104", "qemu/112"}, b.guests())
	b.do(chromedp.Click(".guests tbody tr .who a"))
	require.Eventually(t, func() bool { return len(b.disks()) == 2 }, timeout, 10*time.Millisecond)
	eval[bool](b, "(document.querySelector('.guests tbody tr .name a').click(), true)") // a script's click, because the page may still scroll to the opened guest
	require.Eventually(t, func() bool { return len(b.text("#disk-head")) == 1 }, timeout, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		b.do(chromedp.Reload())
		return eval[int](b, "document.querySelectorAll('.timeline.wide .lane').length") == 6
	}, timeout, 10*time.Millisecond, "the snapshots are there when the page comes again")
	b.do(chromedp.Click("#pools summary"))
	assert.True(t, eval[bool](b, "document.querySelector('#pools details').open"))
}

func TestTheKeyboardReachesEverything(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig).url)
	b.open("/?guest=104&ok=show")
	b.do(chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "Skip to the guests", eval[string](b, "document.activeElement.textContent"))
	b.do(chromedp.KeyEvent(kb.Enter))
	b.await("document.activeElement.id === 'disks'")
	b.do(chromedp.KeyEvent(kb.Tab))
	assert.Equal(t, "q", eval[string](b, "document.activeElement.id"))
	reached := map[string]bool{}
	for range 80 {
		b.do(chromedp.KeyEvent(kb.Tab))
		reached[eval[string](b, "document.activeElement.textContent.trim()")] = true
	}
	for _, text := range []string{"▾qemu/104", "backup/pve/vm-104-disk-0", "▸lxc/110", "hide", "last 1 listings"} {
		assert.Contains(t, reached, text)
	}
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
	assert.Len(t, b.guests(), 3, "the last page stays")
}

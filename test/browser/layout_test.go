package browser

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/exporter"
	"snapwatch/internal/zfstest"
)

// widths lists widths of windows in pixels: of a phone, of a small window and of usual screens.
var widths = []int64{390, 900, 1280, 1920}

// outside is a script for the page. The script returns each element that reaches beyond the right
// edge of the window or of the element's card.
const outside = `[...document.querySelectorAll('main *, header *')].filter(e => {
	const right = e.getBoundingClientRect().right, card = e.closest('#table, .card');
	return right > innerWidth + .5 || card && right > card.getBoundingClientRect().right + .5;
}).map(e => e.outerHTML.slice(0, 80)).slice(0, 5)`

// eachSite calls the function look for each path of two sites: a site with 14 disks and all kinds
// of faults, and a site with 300 disks that asks four nodes. Only one of the two sites runs at a
// time, because each site needs its own fake zfs.
func eachSite(t *testing.T, look func(t *testing.T, b *tab, s *site, path string)) {
	for name, c := range map[string]struct {
		world  zfstest.World
		change []func(*exporter.Settings)
		paths  []string
	}{
		"14 disks":  {estate(), []func(*exporter.Settings){watchConfig, asked}, []string{"/", "/?guest=104&sort=age", "/?disk=backup/pve/vm-104-disk-0", "/?verdict=none"}},
		"300 disks": {many(300), []func(*exporter.Settings){askedOf(4)}, []string{"/?ok=show&guest=100"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.world, c.change...)
			s.read()
			b := newTab(t, s.url)
			for _, path := range c.paths {
				look(t, b, s, path)
			}
		})
	}
}

// openAt opens a path of the site in a window of the given width, and waits until the page is
// complete.
func (b *tab) openAt(path string, width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	b.open(path)
	if strings.Contains(path, "disk=") {
		b.await("!!document.querySelector('.timeline')")
	}
}

// At every width of the window, no element of the page reaches beyond the right edge of the window
// or of the element's card.
func TestItFitsEveryWidth(t *testing.T) {
	eachSite(t, func(t *testing.T, b *tab, _ *site, path string) {
		for _, width := range append([]int64{320, 360, 600, 896, 897, 960, 1024, 1074, 1075}, widths...) {
			b.openAt(path, width)
			assert.Empty(t, eval[[]string](b, outside), "%s, %d wide", path, width)
		}
	})
}

func TestItFitsPaper(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig).url)
	b.open("/")
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	assert.Equal(t, "none", eval[string](b, "getComputedStyle(document.querySelector('.find')).display"))
	assert.Equal(t, "rgb(255, 255, 255)", eval[string](b, "getComputedStyle(document.body).backgroundColor"))
}

// On a phone, the row of a healthy guest takes two lines. All links that sort the table are inside
// the phone's window.
func TestItSuitsAPhone(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig, asked).url)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.open("/?ok=show")
	assert.LessOrEqual(t, eval[float64](b, "document.getElementById('guest-110-office').getBoundingClientRect().height"), 72.0)
	for _, link := range []string{"Guest", "State", "Age here"} {
		assert.True(t, eval[bool](b, fmt.Sprintf(`(() => { const r = [...document.querySelectorAll('thead a')].find(a => a.textContent.includes(%q)).getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth })()`, link)), link)
	}
}

// Links, buttons and fields are at least 24 pixels wide and high, as WCAG 2.2 requires.
func TestTargetsAreLargeEnough(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig, asked).url)
	for _, width := range widths {
		b.openAt("/?ok=show&disk=backup/pve/vm-104-disk-0", width)
		assert.Empty(t, eval[[]string](b, `[...document.querySelectorAll('main a, main button, main summary, main input:not([type=hidden]), header a')].filter(e => {
			const r = e.getBoundingClientRect(); return r.width > 0 && (r.height < 24 || r.width < 24);
		}).map(e => e.outerHTML.slice(0, 80))`), "%d wide", width)
	}
}

// A click on a disk scrolls to the disk's heading, even if the disk's snapshots are shown a moment
// later.
func TestADiskOpensAtItsHead(t *testing.T) {
	for _, width := range widths {
		b := newTab(t, newSite(t, estate(), watchConfig).url) // this site has listed no snapshots yet
		b.do(chromedp.EmulateViewport(width, 700))
		b.open("/?guest=104&ok=show")
		b.press(".guests", "vm-104-disk-1")
		b.await("!!document.querySelector('.timeline')")
		top := eval[float64](b, "document.getElementById('disk-head').getBoundingClientRect().top")
		assert.True(t, top >= 0 && top < 120, "%v from the top, %d wide", top, width)
	}
}

// The timeline of a disk's snapshots has labels that can be read on a phone, too.
func TestTheTimelineIsLabelled(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watchConfig).url)
	for width, drawing := range map[int64]string{390: ".timeline.narrow", 1280: ".timeline.wide"} {
		b.openAt("/?disk=backup/pve/vm-104-disk-0", width)
		labels := eval[[]string](b, "[...document.querySelectorAll('"+drawing+" text')].filter(e => e.getBoundingClientRect().height >= 10).map(e => e.textContent)")
		for _, label := range []string{"hourly", "warning 2h", "critical 6h", "6h ago", "06:00"} {
			assert.Contains(t, labels, label, "%d wide", width)
		}
		names := eval[[]string](b, "[...document.querySelectorAll('"+drawing+" .s-hourly title')].map(e => e.textContent)")
		assert.Contains(t, names, "autosnap_2026-03-29_04:40:00_hourly, 2026-03-29 04:40:00, 7h20m ago")
	}
	assert.Contains(t, b.text("#disk .classes tbody tr")[1], "hourly 25 7h20m 04:40")
}

// violation is a fault in the page's accessibility that axe reports.
type violation struct {
	ID, Impact, Help string
	Nodes            []string
}

func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	require.NoError(t, err, "make test-browser installs it")
	eachSite(t, func(t *testing.T, b *tab, s *site, path string) {
		s.fake.Pool("archive", "SUSPENDED")
		s.read()
		for _, theme := range []string{"light", "dark"} {
			b.theme(theme)
			for _, width := range widths {
				b.openAt(path, width)
				eval[json.RawMessage](b, string(axe)+"; true")
				found := eval[[]violation](b, `axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 150))})))`)
				assert.Empty(t, found, "%s, %s, %d wide", path, theme, width)
			}
		}
	})
}

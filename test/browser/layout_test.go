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

// widths are those of a phone, of small windows, and of the screens that people have.
var widths = []int64{390, 900, 1280, 1920}

// outside are the elements that stand out of the window, or the table's out of its card.
const outside = `[...document.querySelectorAll('main *, header *')].filter(e => {
	const right = e.getBoundingClientRect().right, card = e.closest('#table, .card');
	return right > innerWidth + .5 || card && right > card.getBoundingClientRect().right + .5;
}).map(e => e.outerHTML.slice(0, 80)).slice(0, 5)`

// eachSite runs a test over a site of 14 disks with all kinds of faults, and over one of 300 with
// four other sites, with the paths to look at. They are never there together: each has its own zfs.
func eachSite(t *testing.T, look func(t *testing.T, b *tab, s *site, path string)) {
	for name, c := range map[string]struct {
		world  zfstest.World
		change []func(*exporter.Settings)
		paths  []string
	}{
		"14 disks":  {estate(), []func(*exporter.Settings){watched, asked}, []string{"/", "/?guest=104&sort=age", "/?disk=backup/pve/vm-104-disk-0", "/?verdict=none"}},
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

// openAt opens a path in a window of that width, and waits for all that it shows.
func (b *tab) openAt(path string, width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	b.open(path)
	if strings.Contains(path, "disk=") {
		b.await("!!document.querySelector('.timeline')")
	}
}

// Nothing hangs out of its card or the window, however wide that is.
func TestItFitsEveryWidth(t *testing.T) {
	eachSite(t, func(t *testing.T, b *tab, _ *site, path string) {
		for _, width := range append([]int64{320, 360, 600, 896, 897, 960, 1024, 1074, 1075}, widths...) {
			b.openAt(path, width)
			assert.Empty(t, eval[[]string](b, outside), "%s, %d wide", path, width)
		}
	})
}

func TestItFitsPaper(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched).url)
	b.open("/")
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	assert.Equal(t, "none", eval[string](b, "getComputedStyle(document.querySelector('.find')).display"))
	assert.Equal(t, "rgb(255, 255, 255)", eval[string](b, "getComputedStyle(document.body).backgroundColor"))
}

// On a phone a guest that is well takes two lines, the orders can be chosen, and all that is
// pressed is large enough for a finger.
func TestItSuitsAPhone(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched, asked).url)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.open("/?ok=show")
	assert.LessOrEqual(t, eval[float64](b, "document.getElementById('guest-110-office').getBoundingClientRect().height"), 72.0)
	for _, link := range []string{"Guest", "State", "Age here"} {
		assert.True(t, eval[bool](b, fmt.Sprintf(`(() => { const r = [...document.querySelectorAll('thead a')].find(a => a.textContent.includes(%q)).getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth })()`, link)), link)
	}
}

// WCAG 2.2 asks for 24 pixels, and so do fingers.
func TestTargetsAreLargeEnough(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched, asked).url)
	for _, width := range widths {
		b.openAt("/?ok=show&disk=backup/pve/vm-104-disk-0", width)
		assert.Empty(t, eval[[]string](b, `[...document.querySelectorAll('main a, main button, main summary, main input:not([type=hidden]), header a')].filter(e => {
			const r = e.getBoundingClientRect(); return r.width > 0 && (r.height < 24 || r.width < 24);
		}).map(e => e.outerHTML.slice(0, 80))`), "%d wide", width)
	}
}

// A disk that is opened is shown from its head on, also when its snapshots come a moment later.
func TestADiskOpensAtItsHead(t *testing.T) {
	for _, width := range widths {
		b := newTab(t, newSite(t, estate(), watched).url) // which has listed nothing yet
		b.do(chromedp.EmulateViewport(width, 700))
		b.open("/?guest=104&ok=show")
		b.press(".guests", "vm-104-disk-1")
		b.await("!!document.querySelector('.timeline')")
		top := eval[float64](b, "document.getElementById('disk-head').getBoundingClientRect().top")
		assert.True(t, top >= 0 && top < 120, "%v from the top, %d wide", top, width)
	}
}

// The timeline's words can be read on a phone, too, and say what it draws.
func TestTheTimelineIsLabelled(t *testing.T) {
	b := newTab(t, newSite(t, estate(), watched).url)
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

// violation is what axe finds.
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

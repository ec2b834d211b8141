package browser

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker/format"
)

// pictures is the directory for the pictures of make pictures. Without the flag -pictures, the test
// makes the pictures but writes no file.
var pictures = flag.String("pictures", "", "write the README's pictures into this directory")

// maxPicture is the greatest size of a picture in the README, in bytes.
const maxPicture = 120_000

func save(t *testing.T, name string, shot []byte) {
	t.Helper()
	small := reduceColours(t, shot)
	assert.Less(t, len(small), maxPicture, name)
	dir := t.TempDir()
	if *pictures != "" {
		dir = *pictures
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), small, 0o644))
}

// TestPictures makes the pictures in the README and in docs.
func TestPictures(t *testing.T) {
	t.Run("14 disks", func(t *testing.T) {
		s := newSite(t, estate(), watchConfig, asked)
		s.read()
		b := newTab(t, s.url)
		savePages(t, b, "page", "/")
		b.do(chromedp.EmulateViewport(1280, 700))
		b.theme("dark")
		b.open("/")
		save(t, "page-dark.png", b.picture())
		b.theme("light")
		b.open("/?guest=104")
		save(t, "guest.png", b.picture())
		b.do(chromedp.EmulateViewport(1280, 760))
		b.open("/?disk=backup/pve/vm-104-disk-0")
		b.await("!!document.querySelector('.timeline')")
		save(t, "disk.png", b.picture())
		saveTerminal(t, b, s)
	})
	t.Run("300 disks", func(t *testing.T) {
		s := newSite(t, many(300), askedOf(3))
		s.read()
		b := newTab(t, s.url)
		savePages(t, b, "page-300", "/?ok=show")
	})
}

// savePages makes a picture of the page at each width.
func savePages(t *testing.T, b *tab, name, path string) {
	t.Helper()
	heights := map[int64]int64{390: 1100, 900: 860}
	for _, width := range widths {
		b.do(chromedp.EmulateViewport(width, cmp.Or(heights[width], 700)))
		b.open(path)
		save(t, fmt.Sprintf("%s-%d.png", name, width), b.picture())
	}
}

// saveTerminal makes the picture of snapwatch status at a terminal. After the call of saveTerminal,
// the browser's tab shows the picture's page and no longer the site.
func saveTerminal(t *testing.T, b *tab, s *site) {
	t.Helper()
	var table bytes.Buffer
	require.NoError(t, format.Table{Colour: true, Width: 120}.Write(&table, s.store.Report()))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, terminal("$ snapwatch status\n"+table.String()))
	}))
	defer web.Close()
	b.forgives = "favicon.ico"
	b.url = web.URL
	b.do(chromedp.EmulateViewport(1020, 420))
	b.open("/")
	save(t, "status.png", b.picture())
}

var sequence = regexp.MustCompile(`\x1b\[([0-9;]*)m`)

// terminal returns an HTML page that shows a text as a terminal does.
func terminal(text string) string {
	classes := map[string]string{"0": "</b>", "1": "<b>", "1;31": "<b class=red>", "32": "<b class=green>", "33": "<b class=yellow>", "34": "<b class=blue>", "35": "<b class=purple>", "2": "<b class=grey>"}
	text = sequence.ReplaceAllStringFunc(html.EscapeString(text), func(code string) string {
		return classes[sequence.FindStringSubmatch(code)[1]]
	})
	return `<!DOCTYPE html><meta charset="utf-8"><title>terminal</title><style>
body { margin: 0; background: #14181d; color: #d5dbe1; padding: 18px 20px; font: 13px/1.55 "DejaVu Sans Mono", monospace; }
pre { margin: 0; font: inherit; } b { font-weight: 400; } .red { color: #ff7b72; font-weight: 700 } .green { color: #56d364 } .yellow { color: #e3b341 }
.blue { color: #79c0ff } .purple { color: #d2a8ff } .grey { color: #8b949e }
</style><pre>` + strings.TrimSpace(text) + "</pre>"
}

// reduceColours returns the picture with at most 256 colours. The picture's file then has a third
// of its former size, and a person sees no difference. reduceColours replaces similar shades by the
// most frequent one of them.
func reduceColours(t *testing.T, shot []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(shot))
	require.NoError(t, err)
	at := func(x, y int) color.RGBA {
		r, g, b, _ := full.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	alike := func(c color.RGBA) color.RGBA { return color.RGBA{c.R >> 4, c.G >> 4, c.B >> 4, 255} }
	counts := map[color.RGBA]map[color.RGBA]int{}
	sums := map[color.RGBA]int{}
	bounds := full.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			if counts[alike(c)] == nil {
				counts[alike(c)] = map[color.RGBA]int{}
			}
			counts[alike(c)][c]++
			sums[alike(c)]++
		}
	}
	var palette color.Palette
	for _, group := range maxFrequent(sums, 256) {
		palette = append(palette, maxFrequent(counts[group], 1)[0])
	}
	small := image.NewPaletted(bounds, palette)
	nearest := map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(palette.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small))
	return out.Bytes()
}

// maxFrequent returns the most frequent colours of a picture, the most frequent one first. The
// argument most is the greatest number of returned colours.
func maxFrequent(counts map[color.RGBA]int, most int) []color.RGBA {
	all := slices.Collect(maps.Keys(counts))
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	return all[:min(most, len(all))]
}

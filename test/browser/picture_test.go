package browser

import (
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

func TestPreview(t *testing.T) {
	s := newSite(t, estate(), watched)
	b := newTab(t, s.url)
	save := func(name string) {
		require.NoError(t, os.WriteFile("/tmp/see-"+name+".png", b.picture(0), 0o644))
	}
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		b.open("/")
		save(theme)
	}
	b.theme("light")
	b.open("/?disk=backup/pve/vm-104-disk-0")
	b.await("!!document.querySelector('.timeline')")
	save("disk")
	b.do(chromedp.EmulateViewport(390, 844))
	b.open("/")
	save("phone")
}

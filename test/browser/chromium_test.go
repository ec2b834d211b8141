package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfstest"
)

// chromium is the browser that all tests share. path is the path of Chromium's program. search is
// the value of PATH at the start, before a test puts the directory of its fake zfs first in PATH.
var chromium struct {
	context.Context
	path, search string
}

func TestMain(m *testing.M) {
	if chromium.search = os.Getenv("PATH"); !playing() {
		path, err := exec.LookPath("chromium")
		if err != nil {
			fmt.Fprintln(os.Stderr, "make test-browser installs what is missing:", err)
			os.Exit(1)
		}
		chromium.path = path
	}
	zfstest.Main(m)
}

// start starts the browser at the first call; each later call only returns the error of the first
// call. The browser ends with the tests.
var start = sync.OnceValue(func() error {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium.path), chromedp.Env("PATH="+chromium.search), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to run as root with a sandbox
	}
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	chromium.Context, _ = chromedp.NewContext(allocator)
	return chromedp.Do(chromium)
})

// tab is a page in the browser. A message on the page's console fails the test.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string
	// forgives is a text: if a console message contains this text, the message does not fail the
	// test.
	forgives string
}

// timeout is the longest time that a test waits for an expected event in the browser.
const timeout = 30 * time.Second

// newTab opens a tab for the site at url.
func newTab(t *testing.T, url string) *tab {
	t.Helper()
	require.NoError(t, start())
	ctx, cancel := chromedp.NewContext(chromium)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: url}
	require.NoError(t, chromedp.Do(ctx)) // the tab closes when the context of this call ends
	b.do(chromedp.EmulateViewport(1360, 900))
	var mu sync.Mutex
	var said []string
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			mu.Lock()
			if b.forgives == "" || !strings.Contains(m.String(), b.forgives) {
				said = append(said, m.String())
			}
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		assert.Empty(t, said, "the console is empty: no error, nothing that the policy forbids")
	})
	return b
}

// do runs actions in the browser; the test fails if an action takes longer than timeout.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

// eval runs a script in the page and returns the script's value.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, script)
	return value
}

// await waits until the value of a script in the page is true, even if the page is loaded again
// meanwhile.
func (b *tab) await(script string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, timeout)
		defer cancel()
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script))
		return err == nil && is
	}, timeout, 10*time.Millisecond, script)
}

// open loads a path of the site.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url + path))
}

// refresh triggers the refresh that the page otherwise makes at intervals.
func (b *tab) refresh() {
	b.t.Helper()
	eval[bool](b, "refresh().then(() => true)")
}

// text returns the texts of the page's elements that match the selector.
func (b *tab) text(selector string) []string {
	b.t.Helper()
	return eval[[]string](b, fmt.Sprintf("[...document.querySelectorAll(%q)].map(e => e.innerText.replace(/\\s+/g, ' ').trim())", selector))
}

// call runs a command of the Chrome DevTools Protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	_, err := chromedp.Call(ctx, command, params)
	require.NoError(b.t, err)
}

// theme makes the browser ask for the light or the dark theme.
func (b *tab) theme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// login makes the browser send a password with every request.
func (b *tab) login(authorization string) {
	b.t.Helper()
	call(b, network.Enable, network.EnableParams{})
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
		Headers: network.Headers{"Authorization": authorization},
	})
}

// withoutScripts disables the page's JavaScript.
func (b *tab) withoutScripts() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// picture returns a screenshot of the visible part of the page.
func (b *tab) picture() []byte {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	return shot
}

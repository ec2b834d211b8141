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

// chromium is one browser for all tests; path and search are from before a test puts
// its own zfs first.
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

// start starts the browser at its first use; it ends with the tests.
var start = sync.OnceValue(func() error {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium.path), chromedp.Env("PATH="+chromium.search), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses root otherwise
	}
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	chromium.Context, _ = chromedp.NewContext(allocator)
	return chromedp.Do(chromium)
})

// tab is one page in the browser. What it says on the console fails the test.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string
	// forgives is in the messages on the console that are meant.
	forgives string
}

// timeout is how long a test waits for what must come.
const timeout = 30 * time.Second

// newTab opens a tab for the site at url.
func newTab(t *testing.T, url string) *tab {
	t.Helper()
	require.NoError(t, start())
	ctx, cancel := chromedp.NewContext(chromium)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, url: url}
	require.NoError(t, chromedp.Do(ctx)) // the tab lives as long as this call's context
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

// do runs actions, each within the timeout.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, actions...))
}

// eval is a script's value.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, script)
	return value
}

// await waits until the script's value is true, over any change of pages.
func (b *tab) await(script string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, timeout)
		defer cancel()
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script))
		return err == nil && is
	}, timeout, 10*time.Millisecond, script)
}

// open goes to a path of the site.
func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url + path))
}

// refresh lets the page do now what it does from time to time.
func (b *tab) refresh() {
	b.t.Helper()
	eval[bool](b, "refresh().then(() => true)")
}

// text is what is read in the elements that match.
func (b *tab) text(selector string) []string {
	b.t.Helper()
	return eval[[]string](b, fmt.Sprintf("[...document.querySelectorAll(%q)].map(e => e.innerText.replace(/\\s+/g, ' ').trim())", selector))
}

// call runs a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	_, err := chromedp.Call(ctx, command, params)
	require.NoError(b.t, err)
}

// theme is light or dark.
func (b *tab) theme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
	})
}

// login sends a password with every request.
func (b *tab) login(authorization string) {
	b.t.Helper()
	call(b, network.Enable, network.EnableParams{})
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
		Headers: network.Headers{"Authorization": authorization},
	})
}

// withoutScripts turns the page's JavaScript off.
func (b *tab) withoutScripts() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// picture is what is in view.
func (b *tab) picture() []byte {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, timeout)
	defer cancel()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	return shot
}

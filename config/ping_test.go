package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The address of a ping is a secret, because everybody who knows the address can report a success.
func TestSecretsArePrintedNowhere(t *testing.T) {
	c, err := parse([]byte("ping:\n  - {run: snap, start: 'https://a.example/hush', success: 'https://a.example/hush', token: hush}\n"))
	require.NoError(t, err)
	assert.Equal(t, "https://a.example/hush", c.Ping[0].Start.Reveal())
	shown, err := c.YAML()
	require.NoError(t, err)
	document, err := json.Marshal(c)
	require.NoError(t, err)
	for _, text := range []string{string(shown), string(document), fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%q", c.Ping)} {
		assert.NotContains(t, text, "hush")
		assert.Contains(t, text, hidden)
	}
}

func TestPingRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"{run: snip, success: 'https://a/hush'}":                          "run: write snap, prune or check",
		"{success: 'https://a/hush'}":                                     "run: write snap, prune or check",
		"{run: snap}":                                                     "no address is given",
		"{run: snap, token: hush}":                                        "no address is given",
		"{run: check, start: 'https://a/hush'}":                           "a check does not report its start",
		"{run: snap, success: 'hush'}":                                    "success: not a URL",
		"{run: snap, failure: 'ftp://a/hush'}":                            "failure: not a URL",
		"{run: snap, failure: \"https://a/hush\\x7f\"}":                   "failure: not a URL",
		"{run: snap, failure: 'hush', success: 'hush', start: 'hush'}":    "start: not a URL", // the error is always about the first wrong address
		"{run: snap, failed: 'https://a/hush'}":                           "unknown key (hidden); the keys of ping, entry 1 are ",
		"{run: snap, success: ['https://a/hush'], failure: 'https://a/'}": "",
	} {
		_, err := parse([]byte("ping:\n  - " + text + "\n"))
		require.Error(t, err, text)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "hush", text)
	}
}

// In a misspelt configuration, the secret address may be at any place below the key ping, so no
// error quotes text below this key.
func TestNoErrorPrintsAnAddress(t *testing.T) {
	for _, text := range []string{
		"  - run: snap\n    success:https://hc-ping.com/HUSH\n",
		" [{run: check, success:https://hc-ping.com/HUSH}]\n",
		"  - success:https://hc-ping.com/HUSH\n",
		"  https://hc-ping.com/HUSH: x\n",
		"  - https://hc-ping.com/HUSH: x\n",
		"  - {run: https://hc-ping.com/HUSH}\n",
		"  - {run: check, https://hc-ping.com/HUSH}\n",
		"  - {run: check, success: *HUSH}\n",
		"  - {run: check, success: *HUSH'x'}\n",
		"  - &HUSH [*HUSH]\n",
		"  - {run: check, success: https://hc-ping.com/HUSH, token: !HUSH x}\n",
		"  - {run: check, success: !!int HUSH}\n",
		"  - {run: check, success: !!float 'HUSH'}\n",
		"  - {run: check, success: !!binary 'HUSH!'}\n",
		"  - {run: check, success: !!timestamp 'HUSH'}\n",
		"  - {run: check, <<: {HUSH: x}}\n",
		"  - {run: check, <<: HUSH}\n",
		"  - {run: check, [HUSH]: x}\n",
		"  - {run: check, ? {HUSH: x} : x}\n",
		"  - {run: check, success: 'https://hc-ping.com/HUSH}\n",
		"  - {run: check, success: \"https://hc-ping.com/HUSH\\q\"}\n",
		"  - {run: check, success: %HUSH}\n",
		"  - {run: check, success: !h!HUSH x}\n",
		"  - {success: {https://hc-ping.com/HUSH: x}}\n",
		"  - {HUSH: 1, HUSH: 2}\n",
		"  - {run: check, success: https://hc-ping.com/HUSH, success: https://hc-ping.com/HUSH}\n",
		"  - {run: check, success: https://hc-ping.com/HUSH: x}\n",
		"  - {run: check\n    success: https://hc-ping.com/HUSH\n",
		"  - run: check\n   success: https://hc-ping.com/HUSH\n",
		"- https://hc-ping.com/HUSH\nHUSH\n",
	} {
		c, err := parse([]byte("ping:\n" + text))
		if err == nil { // yaml.v3 accepts unknown tags
			assert.Equal(t, Secret("https://hc-ping.com/HUSH"), c.Ping[0].Success, text)
			continue
		}
		t.Log(err)
		assert.NotContains(t, strings.ToUpper(err.Error()), "HUSH", text)
	}
	for _, url := range []string{"https://c:HUSH@pve1.example:10191", "https://c:%HUSH@pve1.example:10191"} {
		_, err := parse([]byte("owners: {urls: ['" + url + "']}\n"))
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "HUSH")
	}
}

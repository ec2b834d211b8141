package config

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The address of a ping is a secret, because everybody who knows it can report success.
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
		"{run: snip, success: 'https://a/hush'}":                          `run: "snip" is not known; write snap, prune or check`,
		"{success: 'https://a/hush'}":                                     `run: "" is not known`,
		"{run: snap}":                                                     "no address is given",
		"{run: snap, token: hush}":                                        "no address is given",
		"{run: check, start: 'https://a/hush'}":                           "a check has no report of its start",
		"{run: snap, success: 'hush'}":                                    "success: not a URL",
		"{run: snap, failure: 'ftp://a/hush'}":                            "failure: not a URL",
		"{run: snap, failure: \"https://a/hush\\x7f\"}":                   "failure: not a URL",
		"{run: snap, failure: 'hush', success: 'hush', start: 'hush'}":    "start: not a URL", // the error is always about the first wrong address
		"{run: snap, failed: 'https://a/hush'}":                           "failed",
		"{run: snap, success: ['https://a/hush'], failure: 'https://a/'}": "",
	} {
		_, err := parse([]byte("ping:\n  - " + text + "\n"))
		require.Error(t, err, text)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "hush", text)
	}
}

package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOwnersHadAnotherName(t *testing.T) {
	_, err := parse([]byte("node: a\nprimary:\n  urls: [https://a]\n"))
	assert.EqualError(t, err, "line 2: primary is called owners now")
}

func TestOwners(t *testing.T) {
	for text, want := range map[string]string{
		"urls: [https://a:10191, 'https://[2001:db8::1]/sub']":                       "",
		"urls: [http://127.0.0.1:1, 'http://[::1]', http://localhost:10191]":         "",
		"{urls: [http://a:1], allow_http: true}":                                     "",
		"{urls: [https://a], user: u, password_file: /p, ca: /c, cert: /x, key: /y}": "",
		"urls: [http://a:1]":            "is not https",
		"urls: [http://127.0.0.1.evil]": "is not https",
		"urls: [a:10191]":               "not a URL",
		"urls: [file:///x]":             "not a URL",
		"urls: ['https://']":            "not a URL",
		"urls: ['https://:10191']":      "not a URL",
		"urls: [https://u:p@a]":         "contains a password",
		"urls: ['https://a/?x=1']":      "has a query",
		"urls: [https://a, https://a]":  "is listed twice",
		"{urls: [https://a], cert: /x}": "both cert and key",
		"{urls: [https://a], user: u}":  "go together",
		"{url: [https://a]}":            "unknown key \"url\"; did you mean \"urls\"?",
	} {
		_, err := parse([]byte("owners:\n  " + text + "\n"))
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		assert.ErrorContains(t, err, want, text)
	}
}

package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Error messages about the web configuration name the file, and contain no Go types.
func TestWebError(t *testing.T) {
	err := errors.New("yaml: unmarshal errors:\n  line 1: field basic_auth_user not found in type web.Config\n  line 2: cannot unmarshal !!str `yes` into map[string]config.Secret")
	assert.EqualError(t, WebError("/etc/web.yml", err), "web configuration /etc/web.yml: line 1: unknown key \"basic_auth_user\"; line 2: `yes` is not a valid value here")
	assert.EqualError(t, WebError("/etc/web.yml", errors.New("user a: not a hash")), "web configuration /etc/web.yml: user a: not a hash")
}

func TestLoadWebAuth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yml")
	for text, want := range map[string]WebAuth{
		"": {}, "http_server_config: {http2: false}\n": {}, "basic_auth_users: {a: b}\n": {Passwords: true},
		"tls_server_config: {client_auth_type: RequireAndVerifyClientCert}\n": {Certificates: true},
		"tls_server_config: {client_auth_type: VerifyClientCertIfGiven}\n":    {},
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := LoadWebAuth(path)
		require.NoError(t, err)
		assert.Equal(t, want, got, text)
	}
	require.NoError(t, os.WriteFile(path, []byte("basic_auth_users: [a\n"), 0o600))
	_, err := LoadWebAuth(path)
	assert.ErrorContains(t, err, "web configuration "+path+": line 1:")
	_, err = LoadWebAuth(path + "x")
	assert.ErrorContains(t, err, path+"x")
}

package config

import (
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
)

// WebAuth reports whether exporter-toolkit's web configuration at path lets in only
// those who know a password or hold a certificate. Without a path nobody is kept
// out.
func WebAuth(path string) (bool, error) {
	if path == "" {
		return false, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("web config: %w", err)
	}
	var web struct {
		Users map[string]string `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(text, &web); err != nil {
		return false, fmt.Errorf("web config %s: %w", path, err)
	}
	return len(web.Users) > 0 || web.TLS.ClientAuth == "RequireAndVerifyClientCert", nil
}

package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

var (
	foreignKey   = regexp.MustCompile(`field (\S+) not found in type \S+`)
	foreignValue = regexp.MustCompile("cannot unmarshal !!\\w+ (`.*`) into \\S+")
)

// WebError rewrites an error of exporter-toolkit about the web configuration file at path. The
// rewritten error names keys of the file instead of Go types.
func WebError(path string, err error) error {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
	text = foreignKey.ReplaceAllString(text, `unknown key "$1"`)
	text = foreignValue.ReplaceAllString(text, "$1 is not a valid value here")
	return fmt.Errorf("web configuration %s: %s", path, strings.ReplaceAll(text, "\n  ", "; "))
}

// WebAuth has the demands of exporter-toolkit's web configuration on clients: passwords,
// certificates, both or neither.
type WebAuth struct {
	// Passwords is true if the configuration names users, so each request needs a user's password.
	Passwords bool
	// Certificates is true if TLS clients must have a certificate.
	Certificates bool
}

// LoadWebAuth reads the web configuration at path. If path is "", clients need neither a password
// nor a certificate.
func LoadWebAuth(path string) (WebAuth, error) {
	if path == "" {
		return WebAuth{}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return WebAuth{}, fmt.Errorf("web configuration: %w", err)
	}
	var web struct {
		Users map[string]string `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(text, &web); err != nil {
		return WebAuth{}, WebError(path, err)
	}
	return WebAuth{len(web.Users) > 0, web.TLS.ClientAuth == "RequireAndVerifyClientCert"}, nil
}

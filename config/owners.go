package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
)

// Owners says which nodes may own the guests whose disks are received here, and
// how to ask them.
type Owners struct {
	// URLs are the exporters of all of them, such as https://pve1.example:10191.
	URLs []string `yaml:"urls"`
	// AllowHTTP lets a URL be http for a host that is not this one: then names and
	// the password go over the network for all to read.
	AllowHTTP bool `yaml:"allow_http"`
	// CA is a file of certificates to trust instead of the system's; Cert and Key
	// are files of a client certificate.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// User logs in with what stands in PasswordFile, less the newline at its end.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

// Validate tells what is wrong with the entry.
func (o Owners) Validate() error {
	seen := map[string]bool{}
	for _, text := range o.URLs {
		if err := o.validateURL(text); err != nil {
			return fmt.Errorf("owners %q: %w", text, err)
		}
		if seen[text] {
			return fmt.Errorf("owners %q is listed twice", text)
		}
		seen[text] = true
	}
	if (o.Cert == "") != (o.Key == "") {
		return errors.New("owners: a client certificate needs both cert and key")
	}
	if (o.User == "") != (o.PasswordFile == "") {
		return errors.New("owners: user and password_file go together")
	}
	return nil
}

func (o Owners) validateURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("not a URL such as https://pve1.example:10191")
	case u.User != nil:
		return errors.New("has a password in it, for all to see; use user and password_file")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("has a query; name the exporter alone")
	case u.Scheme == "http" && !o.AllowHTTP && !isLoopback(u.Hostname()):
		return errors.New("is not https; allow_http, or --owners-allow-http, lets it be")
	}
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

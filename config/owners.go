package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Owners lists the nodes that may own the guests whose disks this host receives, and says how to
// ask these nodes.
type Owners struct {
	// URLs has, for each node that may own the guests, the address of the node's exporter, such as
	// https://pve1.example:10191.
	URLs []string `yaml:"urls"`
	// AllowHTTP allows URLs with http for hosts other than this one. With http, everybody on the
	// network can read the names of the disks and the password.
	AllowHTTP bool `yaml:"allow_http"`
	// CA is a file with certificates of authorities. If CA is set, snapwatch trusts these
	// authorities, and does not trust the authorities of the system. Cert and Key are the files of
	// a client certificate.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// User is the name with which snapwatch logs in at the exporters. PasswordFile is the file with
	// the password; a newline at its end is ignored.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

// Validate returns an error if a setting of owners: is wrong.
func (o Owners) Validate() error {
	seen := map[string]bool{}
	for _, text := range o.URLs {
		if err := o.validateURL(text); err != nil {
			return fmt.Errorf("owners %q: %w", text[strings.LastIndexByte(text, '@')+1:], err) // the part after the password
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
		return errors.New("contains a password, which others can read; use user and password_file")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("has a query; give only the exporter's address")
	case u.Scheme == "http" && !o.AllowHTTP && !isLoopback(u.Hostname()):
		return errors.New("is not https; allow this with allow_http or --owners-allow-http")
	}
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

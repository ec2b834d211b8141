package config

import (
	"errors"
	"fmt"
	"net/url"
)

// Ping names the addresses to which the runs of a command are reported. Each address is optional.
type Ping struct {
	// Run is the command: snap, prune or check.
	Run string `yaml:"run"`
	// Start is the address that gets a report when a run begins. Success is the address for a run
	// that ends without failures, and Failure the address for a run that ends with failures.
	Start   Secret `yaml:"start,omitempty"`
	Success Secret `yaml:"success,omitempty"`
	Failure Secret `yaml:"failure,omitempty"`
	// Token is sent with each report as a bearer token.
	Token Secret `yaml:"token,omitempty"`
}

// Secret is a text, such as an address, of which snapwatch never prints the whole.
type Secret string

const hidden = "(hidden)"

// String returns a text that may be printed in place of the secret: the host of a URL, or a
// placeholder.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	if u, err := url.Parse(s.Reveal()); err == nil && u.Scheme != "" && u.Host != "" {
		return u.Scheme + "://" + u.Host + "/" + hidden
	}
	return hidden
}

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalYAML implements [yaml.Marshaler].
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

func (p Ping) validate() error {
	switch p.Run {
	case "snap", "prune":
	case "check":
		if p.Start != "" {
			return errors.New("start: a check does not report its start; use success and failure")
		}
	default:
		return errors.New("run: write snap, prune or check") // the value may be a secret address
	}
	if p.Start == "" && p.Success == "" && p.Failure == "" {
		return errors.New("no address is given: start, success or failure")
	}
	for _, address := range []struct {
		key string
		to  Secret
	}{{"start", p.Start}, {"success", p.Success}, {"failure", p.Failure}} {
		u, err := url.Parse(address.to.Reveal())
		if address.to != "" && (err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https")) {
			return fmt.Errorf("%s: not a URL such as https://hc-ping.com/…", address.key) // the error does not quote the address, which is a secret
		}
	}
	return nil
}

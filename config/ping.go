package config

import (
	"errors"
	"fmt"
	"net/url"
)

// Ping says who is told of the runs of a command. Each address is optional.
type Ping struct {
	// Run is the command: snap, prune or check.
	Run string `yaml:"run"`
	// Start is told that a run begins, Success that it did all, Failure that it did not.
	Start   Secret `yaml:"start,omitempty"`
	Success Secret `yaml:"success,omitempty"`
	Failure Secret `yaml:"failure,omitempty"`
	// Token is sent along as a bearer token.
	Token Secret `yaml:"token,omitempty"`
}

// Secret is a text that is never printed as a whole.
type Secret string

const hidden = "(hidden)"

// String is the secret but for what is secret in it: of a URL its host is shown.
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
			return errors.New("start: a check is over at once; success and failure tell of it")
		}
	default:
		return fmt.Errorf("run: %q is not known; write snap, prune or check", p.Run)
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
			return fmt.Errorf("%s: not a URL such as https://hc-ping.com/…", address.key) // which is a secret
		}
	}
	return nil
}

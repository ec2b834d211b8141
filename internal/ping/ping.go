// Package ping reports to a dead man's switch that a command ran. The switch's addresses are
// secrets, so no error contains an address.
package ping

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Send reads at most maxAnswer bytes of a server's answer. Send reads the answer so that the
// connection ends properly.
const maxAnswer = 4096

// Send reports to a dead man's switch: it posts the body to the address, with the token as a bearer
// token unless token is empty. If the server does not accept POST, Send uses GET without the body.
// Send follows redirects on the same host only.
func Send(ctx context.Context, address, token, body string) error {
	status, why, err := send(ctx, http.MethodPost, address, token, body)
	if err == nil && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		status, why, err = send(ctx, http.MethodGet, address, token, "")
	}
	switch {
	case err != nil:
		return err
	case why != "":
		return fmt.Errorf("the server redirects %s", why)
	case status/100 != 2:
		return fmt.Errorf("the server answers %d %s", status, http.StatusText(status))
	}
	return nil
}

// send makes one request. send returns the status of the server's answer, and, if the answer is a
// redirect that was not followed, the reason.
func send(ctx context.Context, method, address, token, body string) (status int, why string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, "", errors.New("not a URL such as https://hc-ping.com/…")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{CheckRedirect: func(next *http.Request, before []*http.Request) error {
		first := before[0].URL
		switch {
		case next.URL.Hostname() != first.Hostname():
			why = "to another host"
		case next.URL.Scheme != first.Scheme:
			why = "from " + first.Scheme + " to " + next.URL.Scheme + ": begin the address with " + next.URL.Scheme
		case next.URL.Host != first.Host:
			why = "to another port"
		case len(before) > 3:
			why = "too often"
		default:
			return nil
		}
		return http.ErrUseLastResponse
	}}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", withoutAddress(err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	return response.StatusCode, why, nil
}

// withoutAddress removes the address from an error of the HTTP client.
func withoutAddress(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return of.Err
	}
	return err
}

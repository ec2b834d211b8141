package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/text"
)

// Owners are the exporters of the nodes that may own the guests whose disks are received here.
type Owners struct {
	urls           []*url.URL
	client         *http.Client
	user, password string
}

// NewOwners reads the certificate and password files that the configuration of the owners names.
// Redirects and proxies are not used, so that requests reach only the named nodes.
func NewOwners(c config.Owners) (Owners, error) {
	if err := c.Validate(); err != nil {
		return Owners{}, err
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	o := Owners{
		user: c.User,
		client: &http.Client{
			Transport:     &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return Owners{}, err
		}
		o.urls = append(o.urls, u)
	}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return Owners{}, fmt.Errorf("owners: ca: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(text) {
			return Owners{}, fmt.Errorf("owners: ca: no certificate in %s", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return Owners{}, fmt.Errorf("owners: cert: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return Owners{}, fmt.Errorf("owners: password_file: %w", err)
		}
		o.password = strings.TrimRight(string(text), "\r\n")
	}
	return o, nil
}

// Configured reports whether any node is configured.
func (o Owners) Configured() bool { return len(o.urls) > 0 }

// Ask asks every node, all at the same time, about the report's disks that can be compared. The
// result is the nodes' evidence about each disk, by the disk's dataset on this host, and the
// guests of each node. originOf returns the origin of a dataset, as [config.Watch.OriginOf] does.
// Ask returns within the timeout; if a node cannot be asked, the node's evidence about each disk
// says why.
func (o Owners) Ask(ctx context.Context, timeout time.Duration, r checker.Report, originOf func(dataset string) (cluster, origin string)) (said map[string][]checker.Evidence, nodes []checker.NodeAnswer) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, datasets := checker.NewCompareRequest(r, originOf)
	answers := make([][]checker.Evidence, len(o.urls))
	nodes = make([]checker.NodeAnswer, len(o.urls))
	var asking sync.WaitGroup
	for i, u := range o.urls {
		asking.Go(func() { answers[i], nodes[i] = o.node(ctx, u, timeout, request) })
	}
	asking.Wait()
	for i := range nodes {
		if nodes[i].Failure == "" {
			nodes[i].At = r.Now
		}
	}
	said = map[string][]checker.Evidence{}
	for _, answer := range answers {
		for i, dataset := range datasets {
			answer[i].Cluster, _ = originOf(dataset)
			said[dataset] = append(said[dataset], answer[i])
		}
	}
	return said, nodes
}

// node sends the request to one of the nodes that may own the disks. If the request fails, the
// evidence about each disk contains the failure.
func (o Owners) node(ctx context.Context, u *url.URL, timeout time.Duration, request checker.CompareRequest) ([]checker.Evidence, checker.NodeAnswer) {
	answer, err := o.post(ctx, u, timeout, request)
	if err == nil {
		var all []checker.Evidence
		if all, err = answer.Evidence(request); err == nil {
			for i := range all {
				all[i].Node = u.Host
			}
			return all, answer.Node(u.Host)
		}
	}
	failed := make([]checker.Evidence, len(request.Disks))
	for i := range failed {
		failed[i] = checker.Evidence{Node: u.Host, Failure: text.Clip(text.Plain(failure(err)), 200)}
	}
	return failed, checker.NodeAnswer{Node: u.Host, Failure: text.Clip(text.Plain(failure(err)), 200)}
}

// failure returns the text of err without the method and URL that the HTTP client adds, because
// the caller names the node.
func failure(err error) string {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		if wrapped.Timeout() {
			return "no answer in time"
		}
		return wrapped.Err.Error()
	}
	return err.Error()
}

func (o Owners) post(ctx context.Context, u *url.URL, timeout time.Duration, request checker.CompareRequest) (checker.CompareAnswer, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return checker.CompareAnswer{}, err
	}
	if len(text) > checker.MaxRequest || len(request.Disks) > checker.MaxCompareDisks {
		return checker.CompareAnswer{}, fmt.Errorf("a request about %d disks would have %d bytes: at most %d disks and %d bytes are allowed; use --pool, --vmid or --disk",
			len(request.Disks), len(text), checker.MaxCompareDisks, checker.MaxRequest)
	}
	for {
		body, wait, err := o.try(ctx, u, timeout, text)
		if err == nil {
			var answer checker.CompareAnswer
			// Unknown fields in the owner's answer are allowed, because the owner may run a newer
			// version of snapwatch.
			err = json.Unmarshal(body, &answer)
			return answer, err
		}
		end, bounded := ctx.Deadline()
		left := time.Until(end) - wait //nolint:forbidigo // a deadline is by this clock, too
		if wait <= 0 || !bounded || left <= 0 {
			return checker.CompareAnswer{}, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return checker.CompareAnswer{}, err
		}
		timeout = min(timeout, left)
	}
}

// try sends a request once. If the request fails, the result `wait` is the time after which a
// second try makes sense, 0 if a second try is useless.
func (o Owners) try(ctx context.Context, u *url.URL, timeout time.Duration, text []byte) (body []byte, wait time.Duration, err error) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, u.JoinPath("/api/v1/compare").String(), bytes.NewReader(text))
	if err != nil {
		return nil, 0, err
	}
	post.Header.Set("Content-Type", "application/json")
	tellTimeout(post, timeout)
	if o.user != "" {
		post.SetBasicAuth(o.user, o.password)
	}
	response, err := o.client.Do(post)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusServiceUnavailable {
		wait = retryAfter(response)
	}
	body, err = readAnswer(response, checker.MaxAnswer)
	return body, wait, err
}

// retryAfter returns the time for which the server asks clients to wait, 0 if the server does not
// say.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

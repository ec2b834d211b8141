// Package remote asks other hosts over HTTP: an exporter for its facts, and the nodes that may own
// a guest for their evidence.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// maxDocument is the largest accepted answer of an exporter, in bytes.
const maxDocument = 16 << 20

// Facts has the pools that an exporter read, and the answers that the exporter got from the nodes
// that may own the disks. Said and Nodes are the results of [checker.Document.Said].
type Facts struct {
	Pools []checker.Pool
	Said  map[string][]checker.Evidence
	Nodes []checker.NodeAnswer
	// Proofs are the records of drills on the exporter's host.
	Proofs checker.Proofs
}

// Read reads the facts from the exporter at a URL instead of from zfs. The request tells the
// exporter the timeout. The caller judges the facts with the limits and the clock of this host, not
// of the exporter's host.
func Read(ctx context.Context, base string, timeout time.Duration) (f Facts, err error) {
	doc, err := fetch(ctx, base, timeout)
	if err != nil {
		return f, fmt.Errorf("exporter %s: %w", base, err)
	}
	if f.Pools, err = doc.Facts(); err == nil {
		f.Said, f.Nodes, err = doc.Said()
		f.Proofs = doc.Proofs()
	}
	if err != nil {
		return f, fmt.Errorf("exporter %s: %w", base, err)
	}
	return f, nil
}

func fetch(ctx context.Context, base string, timeout time.Duration) (checker.Document, error) {
	address, err := url.Parse(base)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return checker.Document{}, errors.New("not a URL such as http://127.0.0.1:10191")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.JoinPath("/api/v1/disks").String(), nil)
	if err != nil {
		return checker.Document{}, err
	}
	tellTimeout(request, timeout)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return checker.Document{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := readAnswer(response, maxDocument)
	if err != nil {
		return checker.Document{}, err
	}
	var doc checker.Document
	if err := json.Unmarshal(body, &doc); err != nil {
		return checker.Document{}, err
	}
	return doc, nil
}

// tellTimeout tells an exporter the timeout, in the header that Prometheus uses. If a pool hangs
// for longer than the timeout, the exporter still answers in time. The answer then has older facts
// about this pool, and fresh facts about all other pools.
func tellTimeout(request *http.Request, timeout time.Duration) {
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', 3, 64))
}

// readAnswer reads the body of an HTTP answer with status 200, of at most limit bytes. For any
// status except 200, readAnswer returns an error with the first words of the server's answer.
func readAnswer(response *http.Response, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s: %s", response.Status, strings.TrimSpace(text.Clip(text.Plain(string(body)), 150)))
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("its answer is larger than %d bytes", limit)
	}
	return body, nil
}

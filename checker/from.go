package checker

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

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// maxDocument is the largest answer of an exporter that is read, in bytes.
const maxDocument = 16 << 20

// From reads the facts from an exporter instead of from zfs, which is told how long it is
// waited for. The judgement is left to the caller: its own limits and its own clock decide.
func From(ctx context.Context, base string, patience time.Duration) ([]Pool, []Note, error) {
	doc, err := fetch(ctx, base, patience)
	if err != nil {
		return nil, nil, fmt.Errorf("exporter %s: %w", base, err)
	}
	pools, err := doc.facts()
	if err != nil {
		return nil, nil, fmt.Errorf("exporter %s: %w", base, err)
	}
	return pools, nil, nil
}

func fetch(ctx context.Context, base string, patience time.Duration) (Document, error) {
	address, err := url.Parse(base)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return Document{}, errors.New("not a URL such as http://127.0.0.1:10191")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.JoinPath("/api/v1/disks").String(), nil)
	if err != nil {
		return Document{}, err
	}
	tellPatience(request, patience)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return Document{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := readAnswer(response, maxDocument)
	if err != nil {
		return Document{}, err
	}
	var doc Document
	if err := json.Unmarshal(body, &doc); err != nil {
		return Document{}, err
	}
	if doc.Version != documentVersion {
		return Document{}, fmt.Errorf("its answer has version %d, this snapwatch knows %d", doc.Version, documentVersion)
	}
	return doc, nil
}

// tellPatience tells an exporter how long it is waited for, in the header that Prometheus
// sends: of a pool that hangs longer it then tells what it knows, and all of the others.
func tellPatience(request *http.Request, patience time.Duration) {
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(patience.Seconds(), 'f', 3, 64))
}

// facts are the pools and disks behind a document, without its verdicts.
func (doc Document) facts() ([]Pool, error) {
	var pools []Pool
	at := map[string]int{}
	for i, p := range doc.Pools {
		at[p.Pool] = i
		pools = append(pools, Pool{
			Name: p.Pool, ReadAt: instant(p.ReadAt), Took: time.Duration(p.Seconds * float64(time.Second)),
			Missing: p.Missing, Problem: p.Problem, MissingRoots: p.MissingRoots, Remarks: p.Remarks,
		})
	}
	for _, d := range doc.Disks {
		disk, err := d.facts()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Dataset, err)
		}
		i, ok := at[poolOf(disk)]
		if !ok {
			return nil, fmt.Errorf("%s: its pool is not in the answer", d.Dataset)
		}
		pools[i].Disks = append(pools[i].Disks, disk)
	}
	return pools, nil
}

func (doc DiskDocument) facts() (Disk, error) {
	vmid, kind, ok := zfs.ParseDiskName(zfs.Base(doc.Dataset))
	if !ok || !zfs.ValidDataset(doc.Dataset) {
		return Disk{}, errors.New("is no disk")
	}
	guid, err := strconv.ParseUint(doc.GUID, 10, 64)
	if err != nil {
		return Disk{}, err
	}
	disk := Disk{
		Dataset: doc.Dataset, VMID: vmid, Template: kind == zfs.TemplateDisk, GUID: guid,
		Created: instant(doc.Created), NewestOfAny: doc.NewestOfAny,
		Receiving: doc.Receiving, PendingReceive: doc.PendingReceive,
		Running: doc.Label.property(), NoSnap: doc.NoSnap.property(),
		Changed: instant(doc.Changed), ReadAt: instant(doc.ReadAt), HostClock: instant(doc.HostClock),
		Gone: doc.Gone, Problem: doc.Problem, Copies: doc.Copies,
	}
	if s := doc.Newest; s != nil {
		disk.Newest, err = s.snapshot(doc.Dataset)
	}
	return disk, err
}

func (s SnapshotDocument) snapshot(dataset string) (*zfs.Snapshot, error) {
	guid, guidErr := strconv.ParseUint(s.GUID, 10, 64)
	txg, txgErr := strconv.ParseUint(s.CreateTXG, 10, 64)
	if !isManaged(s.Name) {
		return nil, fmt.Errorf("%q is no managed snapshot", s.Name)
	}
	return &zfs.Snapshot{Dataset: dataset, Name: s.Name, GUID: guid, CreateTXG: txg, Creation: s.Creation}, errors.Join(guidErr, txgErr)
}

func (l LabelDocument) property() zfs.Property {
	p := zfs.Property{Value: l.Value}
	for s := zfs.SourceNone; s <= zfs.SourceDefault; s++ {
		if s.String() == l.Source {
			p.Source = s
		}
	}
	return p
}

func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// readAnswer reads the body of a good answer, of at most that many bytes. Another
// status is an error that holds the first of what the server says.
func readAnswer(response *http.Response, most int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s: %s", response.Status, strings.TrimSpace(text.Clip(text.Plain(string(body)), 150)))
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("its answer is larger than %d bytes", most)
	}
	return body, nil
}

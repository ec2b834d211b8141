package run

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// createBookmarks creates bookmarks of snapshots that earlier runs took, all in one channel
// program.
func (p *pool) createBookmarks(ctx context.Context, marks []zfs.Snapshot) {
	var list []lua.Bookmark
	for _, m := range marks {
		list = append(list, lua.Bookmark{Dataset: m.Dataset, Name: m.Name})
	}
	if len(list) == 0 || ctx.Err() != nil || p.hangs.Load() {
		return
	}
	var got map[string]lua.Outcome
	err := p.withTimeout(func(timeout context.Context) (err error) {
		got, err = p.Snapshot(timeout, nil, list)
		return err
	})
	for _, m := range list {
		errno, said := got[m.Dataset].Bookmarks[m.Name]
		p.index.BookmarkCreated(m.Dataset, m.Name, said && errno == 0)
	}
	if err != nil {
		p.problem(report.Warning, "pool %s: it is unknown which bookmarks of older snapshots were created, the next run checks: %v", p.name, err)
		return
	}
	for _, m := range list {
		errno, said := got[m.Dataset].Bookmarks[m.Name]
		switch {
		case !said:
			p.problem(report.Warning, "bookmark of %s@%s: the channel program returned no result", m.Dataset, m.Name)
		case errno == 0:
			p.count(report.DidBookmark)
		case errno == syscall.EEXIST, errno == syscall.ENOENT:
			// The bookmark exists already, or its snapshot is gone: another program created or
			// destroyed it.
		default:
			p.problem(report.Warning, "bookmark of %s@%s: %s", m.Dataset, m.Name, explain(errno))
		}
	}
}

// destroyAbandoned destroys bookmarks of a discarded history. If destroying a bookmark fails, the
// next run judges the disk's bookmarks again.
func (p *pool) destroyAbandoned(ctx context.Context, marks []snapper.JudgedBookmark) {
	for _, m := range marks {
		err := context.Cause(ctx)
		if err == nil {
			err = p.within(soonTimeout, func(timeout context.Context) error { return p.destroyBookmark(timeout, m.Snapshot) })
		}
		if err != nil && !strings.Contains(err.Error(), "does not exist") {
			p.problem(report.Warning, "a bookmark of a discarded history remains and must not be used as a send base: %s#%s: %v", m.Dataset, m.Name, err)
			if p.unfinished == nil {
				p.unfinished = map[string]bool{}
			}
			p.unfinished[m.Dataset] = true
			continue
		}
		p.index.BookmarkDestroyed(m.Snapshot)
	}
}

// destroyBookmarks destroys bookmarks of the pool, one by one, and returns the number of bookmarks
// that remain.
func (p *pool) destroyBookmarks(ctx context.Context, marks []zfs.Snapshot) (left int) {
	for i, m := range marks {
		if ctx.Err() != nil || p.hangs.Load() {
			return left + len(marks) - i
		}
		err := p.withTimeout(func(timeout context.Context) error { return p.destroyBookmark(timeout, m) })
		if err != nil && !strings.Contains(err.Error(), "does not exist") {
			p.problem(report.Warning, "%v", err)
			left++
			continue
		}
		p.index.BookmarkDestroyed(m)
	}
	return left
}

// destroyBookmark destroys a managed bookmark, and refuses to destroy a bookmark that is not
// managed. destroyBookmark checks the name although other functions checked the name before,
// because a destroy cannot be undone.
func (p *pool) destroyBookmark(timeout context.Context, b zfs.Snapshot) error {
	if _, ours := b.Class(); !ours || strings.ContainsAny(b.Dataset, "@#") {
		return fmt.Errorf("refusing to destroy the bookmark %s#%s: not a managed name", b.Dataset, b.Name)
	}
	return p.DestroyBookmark(timeout, b)
}

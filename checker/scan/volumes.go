package scan

import (
	"context"
	"maps"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Volumes returns the sizes, free space and encryption of datasets and of their pools, for starting
// a guest from clones of the datasets. Volumes returns at the latest when ctx ends.
func (s Scanner) Volumes(ctx context.Context, datasets []string) checker.Volumes {
	byPool := map[string][]string{}
	for _, d := range datasets {
		pool := zfs.Pool(d)
		if byPool[pool] == nil {
			byPool[pool] = []string{pool}
		}
		byPool[pool] = append(byPool[pool], d)
	}
	found := checker.Volumes{Found: map[string]zfs.Volume{}, Problems: map[string]string{}}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for pool, names := range byPool {
		asking.Go(func() {
			volumes := map[string]zfs.Volume{}
			err := zfs.CheckPool(s.Kstat, pool)
			if err == nil {
				err = s.asking(ctx, pool, func(r zfs.Reader) (err error) {
					volumes, err = r.Volumes(ctx, names)
					return err
				})
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				found.Problems[pool] = problemText(pool, err)
				return
			}
			maps.Copy(found.Found, volumes)
		})
	}
	asking.Wait()
	return found
}

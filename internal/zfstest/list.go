package zfstest

import (
	"fmt"
	"strconv"
	"strings"
)

func (w World) list(names []string, options map[string]string) (out, complaints string, status int) {
	var b strings.Builder
	columns := strings.Split(options["-o"], ",")
	mark := "@"
	if options["-t"] == "bookmark" {
		mark = "#"
	}
	at := map[string]int{}
	for i := range w.Datasets {
		at[w.Datasets[i].Name] = i
	}
	for _, name := range names {
		dataset, snapshot, one := strings.Cut(name, mark)
		i, found := at[dataset]
		if found {
			d := w.Datasets[i]
			if options["-d"] == "0" && options["-o"] == "creation" {
				b.WriteString(strconv.FormatInt(d.Creation, 10) + "\n")
				continue
			}
			found = !one
			kept := d.Snapshots
			if mark == "#" {
				kept = d.Bookmarks
			}
			for _, s := range kept {
				if !one || s.Name == snapshot {
					found = true
					b.WriteString(s.row(d.Name+mark, columns) + "\n")
				}
			}
		}
		if !found {
			why := "dataset does not exist"
			if mark == "#" && one {
				why = "no such pool or dataset" // zfs uses different words for a missing bookmark
			}
			complaints += fmt.Sprintf("cannot open '%s': %s\n", name, why)
			status = 1
		}
	}
	return b.String(), complaints, status
}

func (s Snapshot) row(prefix string, columns []string) string {
	var cells []string
	for _, c := range columns {
		switch c {
		case "name":
			cells = append(cells, prefix+s.Name)
		case "guid":
			cells = append(cells, strconv.FormatUint(s.GUID, 10))
		case "createtxg":
			cells = append(cells, strconv.FormatUint(s.TXG, 10))
		case "creation":
			cells = append(cells, strconv.FormatInt(s.Creation, 10))
		case "userrefs":
			cells = append(cells, strconv.Itoa(s.Holds))
		case "clones":
			cells = append(cells, s.Clones)
		}
	}
	return strings.Join(cells, "\t")
}

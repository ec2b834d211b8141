package main

// drillMutants are breaks of the drills of copies.
var drillMutants = []mutant{
	{"drill/left.go", `if ok && d.Origin != "" && ended(vmid) {`, `if ok && ended(vmid) {`, "destroy a dataset that is no clone"},
	{"drill/left.go", `guest != "g"+m[1]`, `guest == ""`, "destroy what has another guest's mark"},
	{"drill/left.go", `s.CreateTXG > d.CreateTXG`, `true`, "destroy the snapshots of a disk whose clone was promoted"},
	{"drill/part.go", `if p.To > 1-rest {`, `if p.To > 1+rest {`, "never begin again after the last part"},
	{"drill/proof.go", `if d.Part != nil && d.Wrong(checker.FaultRead) == nil {`, `if d.Part != nil {`, "read on after a block that cannot be read"},
	{"drill/proof.go", `return d.Part != nil && f.Part != nil && d.Part.From <= f.Part.From && f.Part.To <= d.Part.To`, `return d.Part != nil`, "let another part end the alarm about a block that cannot be read"},
	{"drill/proof.go", `return d.FileSystems >= f.FileSystems`, `return true`, "let a copy without file systems end the alarm about one"},
	{"drill/proof.go", `return d.Reach == Booted`, `return true`, "let a look end the alarm about a guest that did not start"},
	{"drill/run/prove.go", `result.Wrong(checker.FaultFiles) == nil {`, `!result.Failed() {`, "let a read error hide an empty container"},
	{"checker/drill.go", `		case r.Cluster != "" && cluster != "":`, `		case r.Cluster != cluster:`, "forget a fault when the cluster becomes known"},
	{"checker/drill.go", `|| p.Last.At.Before(arrived) {`, `{`, "count a drill of the guest that had the VMID before"},
	{"drill/run/left.go", `return o.Notes.Read(strconv.Itoa(vmid), &by) == nil`, `return false`, "not wait for the last command of a killed drill"},
	{"drill/run/left.go", `if len(again) == 0 ||`, `if true ||`, "leave a clone that a killed drill's program has open"},
	{"drill/run/left.go", `todo = again`, `todo = again[:1]`, "wait for one guest's clones only"},
	{"drill/run/left.go", `o.changeWithin(ctx, n.File(), `, `o.change(ctx, n.File(), `, "let a hung destroy of a clone stop another command"},
	{"drill/run/prove.go", `for _, pool := range p.Pools() {`, `for _, pool := range p.Pools()[:0] {`, "blame a copy for a suspended pool"},
	{"drill/run/prove.go", `checked = sight.FileSystems > 0`, `checked = true`, "call a copy without a file system checked"},
	{"drill/run/prove.go", `if containers > 0 && systems == 0 && `, `if false && `, "call an empty container a system"},
	{"drill/run/prove.go", `	case started.Tried:`, `	case false:`, "not blame a guest that does not start"},
	{"drill/run/inspect.go", `root, err := os.OpenRoot(dir)`, `root, err := os.OpenRoot("/")`, "look at this host's own system"},
	{"drill/look.go", `before == nil || d.FileSystems >= before.FileSystems ||`, `true ||`, "pass a copy whose file systems are not recognised any more"},
	{"drill/qemu.go", `if=none,format=raw,snapshot=on,id=`, `if=none,format=raw,id=`, "let a guest write to its clone"},
	{"drill/qemu.go", `, "-nic", "none"`, ``, "start a guest with a network"},
}

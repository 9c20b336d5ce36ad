// Package member is what the members of the takeover test have in common: their command line, and the lines they print
// (see ../../README.md).
package member

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	SessionTimeout    = 6 * time.Second
	HeartbeatInterval = 500 * time.Millisecond
)

type CommandLine struct {
	Bootstrap, Topic, Group, Mode, Name string
}

func Arguments() CommandLine {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: BOOTSTRAP TOPIC GROUP MODE NAME")
		os.Exit(2)
	}
	return CommandLine{os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]}
}

// Partitions are those that a member has; each change is printed.
type Partitions struct {
	Name string
	mu   sync.Mutex
	held []int32
}

func (p *Partitions) Add(added []int32) {
	p.change(func() { p.held = append(p.held, added...) })
}

func (p *Partitions) Remove(gone []int32) {
	p.change(func() {
		p.held = slices.DeleteFunc(p.held, func(held int32) bool { return slices.Contains(gone, held) })
	})
}

func (p *Partitions) Set(held []int32) {
	p.change(func() { p.held = slices.Clone(held) })
}

func (p *Partitions) change(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	slices.Sort(p.held)
	var line strings.Builder
	line.WriteString("assigned")
	for _, partition := range p.held {
		fmt.Fprintf(&line, " %d", partition)
	}
	say(p.Name, line.String())
}

func Read(name string, partition int32, offset int64) {
	say(name, fmt.Sprintf("read %d %d", partition, offset))
}

func Committed(name string, partition int32, offset int64) {
	say(name, fmt.Sprintf("committed %d %d", partition, offset))
}

// Failed tells of an error that passes by itself: the gateway is away, or the group is between two generations.
func Failed(name string, err error) {
	say(name, "failed "+err.Error())
}

// say writes a line at once: the other member writes to the same file.
func say(name, what string) {
	fmt.Println(name, what)
}

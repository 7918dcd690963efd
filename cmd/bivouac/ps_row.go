package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/bivouac-run/bivouac/sandbox"
)

// containerRow is a container as it is printed. Its fields have Docker's names.
type containerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Status, State, Size, Ports, Names, Labels, Mounts, LocalVolumes, Networks string

	labels map[string]string
}

var containerHeader = containerRow{
	ID: "CONTAINER ID", Image: "IMAGE", Command: "COMMAND", CreatedAt: "CREATED AT", RunningFor: "CREATED", Status: "STATUS",
	State: "STATE", Size: "SIZE", Ports: "PORTS", Names: "NAMES", Labels: "LABELS", Mounts: "MOUNTS", LocalVolumes: "LOCAL VOLUMES",
	Networks: "NETWORKS",
}

// Label is one label's value, for templates; of the header its name as the column's.
func (r containerRow) Label(name string) string {
	if r.ID == containerHeader.ID {
		return strings.NewReplacer("-", " ", "_", " ").Replace(name[strings.LastIndexByte(name, '.')+1:])
	}
	return printable(r.labels[name])
}

func (f *psFlags) rows(list []sandbox.Record, now time.Time) []containerRow {
	rows, images := make([]containerRow, len(list)), &imageNames{}
	for i, r := range list {
		rows[i] = containerRow{
			ID: r.ID[:min(12, len(r.ID))], Image: images.of(&r, f.noTrunc), Command: quotedCommand(r.Args, 20),
			CreatedAt: createdAt(r.Created), RunningFor: ago(r.Created, now),
			Status: describeStatus(r.Status, now), State: string(r.State), Ports: describePorts(r.Status), Names: r.Name,
			Labels: describeLabels(r.Labels), Mounts: strings.Join(mountNames(&r, f.noTrunc), ","), LocalVolumes: strconv.Itoa(len(r.Volumes)),
			Networks: string(networkOf(&r)), labels: r.Labels,
		}
		if f.noTrunc {
			rows[i].ID, rows[i].Command = r.ID, quotedCommand(r.Args, -1)
		}
	}
	return rows
}

// createdAt is a time as Docker's listings have it.
func createdAt(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -0700 MST") }

// ago is how long before now a time was, as Docker's listings have it.
func ago(t, now time.Time) string { return units.HumanDuration(now.Sub(t)) + " ago" }

// imageName is the name that people use: without Docker Hub's, which nobody writes.
func imageName(full string) string {
	name, hub := strings.CutPrefix(full, "docker.io/")
	if official, ok := strings.CutPrefix(name, "library/"); hub && ok {
		name = official
	}
	return printable(name)
}

// quotedCommand is the command in quotes as Docker has it, of at most limit characters unless that is negative.
func quotedCommand(args []string, limit int) string {
	words := slices.Clone(args)
	for i, w := range words {
		if strings.Contains(w, " ") {
			words[i] = "'" + w + "'"
		}
	}
	return strconv.Quote(ellipsis(printable(strings.Join(words, " ")), limit))
}

// ellipsis shortens a text to limit characters unless that is negative.
func ellipsis(text string, limit int) string {
	runes := []rune(text)
	if limit >= 0 && len(runes) > limit {
		return string(append(runes[:limit-1], '…'))
	}
	return text
}

func describeStatus(s sandbox.Status, now time.Time) string {
	switch s.State {
	case sandbox.StateRunning:
		return "Up " + units.HumanDuration(now.Sub(s.Started)) + describeHealth(s.Health)
	case sandbox.StatePaused:
		return "Up " + units.HumanDuration(now.Sub(s.Started)) + " (Paused)"
	case sandbox.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.Exit.Code, units.HumanDuration(now.Sub(s.Finished)))
	case sandbox.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", s.Exit.Code, units.HumanDuration(now.Sub(s.Finished)))
	}
	return "Created"
}

func describeHealth(h *sandbox.Health) string {
	switch {
	case h == nil || h.Status == "":
		return ""
	case h.Status == sandbox.HealthStarting:
		return " (health: starting)"
	}
	return " (" + string(h.Status) + ")"
}

// describePorts lists published ports, and then those that are exposed to no avail.
func describePorts(s sandbox.Status) string {
	var texts []string
	published := map[string]bool{}
	if isUp(s.State) {
		for ports := s.Ports; len(ports) > 0; {
			n := rangeLength(ports)
			texts = append(texts, describeRange(ports[:n]))
			for _, p := range ports[:n] {
				published[portName(p)] = true
			}
			ports = ports[n:]
		}
	}
	for _, e := range s.ExposedPorts {
		if isUp(s.State) && !published[e] {
			texts = append(texts, printable(e))
		}
	}
	return strings.Join(texts, ", ")
}

// rangeLength tells how many of the ports, from the first on, are one range on both sides.
func rangeLength(ports []sandbox.PortMapping) int {
	n := 1
	for ; n < len(ports); n++ {
		next := ports[0]
		next.HostPort, next.Port = next.HostPort+uint16(n), next.Port+uint16(n)
		if ports[n] != next {
			break
		}
	}
	return n
}

// describeRange is HOST:FIRST-LAST->FIRST-LAST/PROTOCOL.
func describeRange(ports []sandbox.PortMapping) string {
	first, last := ports[0], ports[len(ports)-1]
	if len(ports) == 1 {
		return hostAddress(first) + "->" + portName(first)
	}
	return fmt.Sprintf("%s-%d->%d-%s", hostAddress(first), last.HostPort, first.Port, portName(last))
}

func hostAddress(p sandbox.PortMapping) string {
	return net.JoinHostPort(p.HostIP, strconv.Itoa(int(p.HostPort)))
}

// portName is PORT/PROTOCOL.
func portName(p sandbox.PortMapping) string {
	protocol := p.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	return strconv.Itoa(int(p.Port)) + "/" + protocol
}

func describeLabels(labels map[string]string) string {
	var texts []string
	for name, value := range labels {
		texts = append(texts, printable(name+"="+value))
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

// mountNames are the names of volumes and the sources of bind mounts, of at most 15 characters unless they are wanted in full.
func mountNames(r *sandbox.Record, full bool) []string {
	limit := 15
	if full {
		limit = -1
	}
	var names []string
	for _, v := range r.Volumes {
		names = append(names, ellipsis(printable(v.Name), limit))
	}
	for _, m := range r.Spec.Mounts {
		if m.Type == sandbox.MountBind {
			names = append(names, ellipsis(printable(m.Source), limit))
		}
	}
	return names
}

// networkOf names the network that a container is in.
func networkOf(r *sandbox.Record) sandbox.Network {
	if r.Spec.Network == "" {
		return sandbox.NetworkNone
	}
	return r.Spec.Network
}

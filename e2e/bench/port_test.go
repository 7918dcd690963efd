package main

import (
	"net"
	"testing"
)

func TestAskingMeasures(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = answerAll(l) }() // ends with the listener
	for name, measure := range map[string]func(string) (float64, error){
		"throughput": fetchMany, "latency": askMany, "connection": connectMany,
	} {
		if got, err := measure(l.Addr().String()); err != nil || got <= 0 {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestAServerThatIsGoneIsAnError(t *testing.T) {
	ports, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connectMany((&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[0]}).String()); err == nil {
		t.Error("got no error")
	}
}

func TestFreePortsDiffer(t *testing.T) {
	ports, err := freePorts(fleetSize)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range ports {
		seen[port] = true
	}
	if len(seen) != fleetSize || seen[0] {
		t.Errorf("got %v", ports)
	}
}

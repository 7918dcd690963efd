package main

import (
	"errors"
	"net"
	"time"

	"github.com/bivouac-run/bivouac/testkit"
)

// nameDirect is a server that the caller runs itself, on the host's loopback.
const nameDirect = "direct"

// How often a round of the contests about ports asks.
const (
	bigAnswers  = 200
	askings     = 500
	connections = 200
)

// throughputContest fetches large answers one after the other.
func throughputContest(l *lab, c config) contest {
	return contest{
		name: "throughput", title: "throughput: answers of 1 MiB over one connection, through a published port", unit: "MiB/s", meter: ownGauge,
		warmups: 1, rounds: c.rounds, contenders: askers(l, fetchMany),
	}
}

// latencyContest fetches small answers over a connection that is there.
func latencyContest(l *lab, c config) contest {
	return contest{
		name: "latency", title: "latency: a request and an answer of one byte over a connection that is there, through a published port", unit: "µs", meter: ownGauge,
		warmups: 1, rounds: c.rounds, contenders: askers(l, askMany),
	}
}

// connectionContest makes a connection for each small answer.
func connectionContest(l *lab, c config) contest {
	return contest{
		name: "connection", title: "connection: the same, with a connection of its own for each request", unit: "µs", meter: ownGauge,
		warmups: 1, rounds: c.rounds, contenders: askers(l, connectMany),
	}
}

// askers measure the way to a server by the same client.
func askers(l *lab, measure func(address string) (float64, error)) []*contender {
	return []*contender{askPublished(l, measure), askDirectly(l, measure)}
}

func askPublished(l *lab, measure func(string) (float64, error)) *contender {
	c := &contender{name: nameBivouac, ours: true, finish: testkit.Shutdown}
	c.about = func() string { return "package testkit; a container of the host's own files" }
	var container *testkit.Container
	c.prepare = func() (err error) {
		container, err = serveInside(l)
		return err
	}
	c.gauge = func() (reading, error) {
		value, err := measure(container.Addr(serverPort))
		return reading{value: value}, err
	}
	return c
}

func askDirectly(l *lab, measure func(string) (float64, error)) *contender {
	c := &contender{name: nameDirect, about: func() string { return "the same server on the host" }}
	var s hostServer
	c.prepare = func() error { return s.start(l) }
	c.gauge = func() (reading, error) {
		value, err := measure(s.address)
		return reading{value: value}, err
	}
	c.finish = s.stop
	return c
}

// fetchMany returns MiB per second.
func fetchMany(address string) (float64, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	answer := make([]byte, bigAnswer)
	begin := time.Now()
	for range bigAnswers {
		if err := ask(c, askBig, answer); err != nil {
			return 0, err
		}
	}
	return bigAnswers * bigAnswer / mebibyte / time.Since(begin).Seconds(), nil
}

// askMany returns microseconds.
func askMany(address string) (float64, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return typical(askings, func() error { return ask(c, askSmall, make([]byte, smallAnswer)) })
}

// connectMany returns microseconds.
func connectMany(address string) (float64, error) {
	return typical(connections, func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return errors.Join(ask(c, askSmall, make([]byte, smallAnswer)), c.Close())
	})
}

// typical returns the median, in microseconds, of what something takes.
func typical(times int, do func() error) (float64, error) {
	var all sample
	for range times {
		begin := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		all = append(all, in(time.Microsecond, time.Since(begin)))
	}
	return all.median(), nil
}

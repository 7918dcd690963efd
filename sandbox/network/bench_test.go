package network

import (
	"io"
	"net"
	"sync"
	"testing"
)

// benchmarkPath measures one way to a server: a direct connection over the host's loopback, or a published port.
func benchmarkPath(b *testing.B, published bool, work func(*testing.B, string)) {
	where, listen := "outside", "127.0.0.1:0"
	if published {
		where, listen = "inside", "127.0.0.1:80"
	}
	if !published {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			b.Fatal(err)
		}
		listen = l.Addr().String() // free once the listener is closed
		l.Close()
	}
	server := start(b, where)
	server.do("listen", "tcp4", listen)
	if published {
		var ports *Ports
		ports, listen = publish(b, "tcp", false)
		ports.Attach(server.namespace())
	}
	b.ResetTimer()
	work(b, listen)
}

// exchange asks for a mebibyte or a byte and reads it.
func exchange(b *testing.B, c net.Conn, kind string, buf []byte) {
	if _, err := io.WriteString(c, kind); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		b.Fatal(err)
	}
}

func mebibytes(connections int) func(*testing.B, string) {
	return func(b *testing.B, address string) {
		b.SetBytes(mebibyte)
		var all sync.WaitGroup
		for i := range connections {
			c, err := net.Dial("tcp", address)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			all.Go(func() {
				buf := make([]byte, mebibyte)
				for range (b.N + i) / connections {
					exchange(b, c, "b", buf)
				}
			})
		}
		all.Wait()
	}
}

func bytesOneByOne(b *testing.B, address string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		exchange(b, c, "s", make([]byte, 1))
	}
}

func connections(b *testing.B, address string) {
	for b.Loop() {
		c, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		exchange(b, c, "s", make([]byte, 1))
		c.Close()
	}
}

// BenchmarkPublished compares published ports with direct connections. Interleave them (-count) before comparing.
func BenchmarkPublished(b *testing.B) {
	for name, work := range map[string]func(*testing.B, string){
		"MiB": mebibytes(1), "MiB-4-connections": mebibytes(4), "byte": bytesOneByOne, "connection": connections,
	} {
		b.Run(name+"/direct", func(b *testing.B) { benchmarkPath(b, false, work) })
		b.Run(name+"/published", func(b *testing.B) { benchmarkPath(b, true, work) })
	}
}

package testkit

import (
	"testing"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestTheCommandLineReproduces(t *testing.T) {
	dir := t.TempDir()
	for want, opts := range map[string][]Option{
		"bivouac run -P image": nil,
		"bivouac run -w /srv -u 1:2 --hostname h --name n --stop-signal SIGINT --init -P image a 'b c'": {
			WorkingDir("/srv"), User("1:2"), Hostname("h"), Name("n"), StopSignal("SIGINT"), Init(), Args("a", "b c"),
		},
		"bivouac run --read-only --tmpfs /t:size=1024,mode=1700,exec --mount type=bind,source=" + dir + ",target=/b,readonly -P image": {
			ReadOnly(), Tmpfs("/t", TmpfsSize(1024), TmpfsMode(0o700|1<<20), TmpfsExec()), BindReadOnly(dir, "/b"),
		},
		"bivouac run --network host image":                                               {Network("host")},
		"bivouac run -P -p 53/udp -p 127.0.0.2:8080:80 -p 90 image":                      {PublishUDP(53), PublishAs(sandbox.PortMapping{HostIP: "127.0.0.2", HostPort: 8080, Port: 80}), Publish(90)},
		"bivouac run -P --memory 1024 --cpus 1.5 --pids-limit 7 image":                   {Memory(1024), CPUs(1.5), PIDs(7)},
		"bivouac run -P --ulimit nofile=1:2 --cap-add x --cap-drop y image":              {Ulimit("nofile", 1, 2), CapAdd("x"), CapDrop("y")},
		"bivouac run -P --platform linux/arm64 --pull always image":                      {Platform("linux/arm64"), Pull("always")},
		"bivouac run -P --entrypoint a image b c":                                        {Entrypoint("a", "b"), Args("c")},
		"bivouac run -P --entrypoint '' image c":                                         {Entrypoint(), Args("c")},
		"bivouac run -P image # and 1 files that the test puts there before, such as /a": {File("/a", "")},
	} {
		s, err := collect("image", opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := reproduce(s); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

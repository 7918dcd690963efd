package testkit

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bivouac-run/bivouac/sandbox"
)

func TestContradictionsNameBoth(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		opts  []Option
		parts []string
	}{
		"host network":   {[]Option{Network("host"), Publish(80)}, []string{"Network(host)", "Publish(80)"}},
		"host ports":     {[]Option{PublishAs(sandbox.PortMapping{HostPort: 8080, Port: 80}), PublishAs(sandbox.PortMapping{HostPort: 8080, Port: 81})}, []string{"8080:80)", "8080:81)"}},
		"mounts":         {[]Option{Tmpfs("/data"), Bind(dir, "/data/")}, []string{"Tmpfs(/data)", "Bind(" + dir}},
		"hidden file":    {[]Option{Tmpfs("/data"), File("/data/a", "x")}, []string{"File(/data/a)", "Tmpfs(/data)"}},
		"hidden by root": {[]Option{BindReadOnly(dir, "/"), Files("/srv", fstest.MapFS{})}, []string{"Files(/srv)", "BindReadOnly("}},
		"capabilities":   {[]Option{CapAdd("net_admin"), CapDrop("CAP_NET_ADMIN")}, []string{"CapAdd(net_admin)", "CapDrop(CAP_NET_ADMIN)"}},
		"exit, then":     {[]Option{Ready(Exited(0), Port(80))}, []string{"Ready(exit with code 0)", "Ready(port 80/tcp)"}},
		"run and ready":  {[]Option{oneShot(nil), Ready(Port(80))}, []string{"Run", "Ready(port 80/tcp)"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := collect("image", test.opts)
			expectError(t, err, append(test.parts, "contradict", "leave one")...)
			if sandbox.CodeOf(err) != sandbox.CodeInvalid {
				t.Errorf("got code %s", sandbox.CodeOf(err))
			}
		})
	}
}

func TestOptionsThatCannotBeUsed(t *testing.T) {
	for want, opt := range map[string]Option{
		"Publish(0): needs a port":                Publish(0),
		"Ready(port 70000/tcp): 70000 is no port": Ready(Port(70000)),
		"Memory(0)":                               Memory(0),
		"CPUs(-1)":                                CPUs(-1),
		"StartTimeout(0s)":                        StartTimeout(0),
		"File(a): needs an absolute path":         File("a", ""),
		"Bind(/no/such/path)":                     Bind("/no/such/path", "/x"),
		`there is no database/sql driver "nosql"`: Ready(SQL("nosql", 1, nil)),
		"missing closing )":                       Ready(LogPattern("(")),
		"Exec needs a command":                    Ready(Exec()),
		"needs at least one strategy":             Ready(Any()),
		"a strategy is nil":                       Ready(nil),
		"a terminal cannot be used":               Spec(func(s *sandbox.Spec) { s.Terminal = &sandbox.TerminalSize{} }),
	} {
		_, err := collect("image", []Option{opt, nil})
		expectError(t, err, want)
	}
	_, err := collect("", nil)
	expectError(t, err, "the image's name is empty")
}

func TestPortsAreChosen(t *testing.T) {
	s, err := collect("image", []Option{Publish(80), Ready(Port(80), SQLlike(5432), UDPPort(53))})
	if err != nil {
		t.Fatal(err)
	}
	if got := portList(s); got != "80/tcp 5432/tcp 53/udp" || !s.spec.PublishAll || !s.spec.HoldPorts {
		t.Errorf("got %s, %v, %v", got, s.spec.PublishAll, s.spec.HoldPorts)
	}
	s, err = collect("image", []Option{Publish(80), PublishUDP(53)})
	if err != nil || len(s.strategies) != 1 || s.strategies[0].String() != "port 80/tcp" {
		t.Errorf("without Ready: %v, %v", s.strategies, err)
	}
	s, err = collect("image", []Option{Ready(Custom("mine", nil), Port(80))})
	if err != nil || s.spec.HoldPorts {
		t.Errorf("connections would wait for a strategy that may make one: %v", err)
	}
	s, err = collect("image", []Option{Network("host"), Ready(Port(80))})
	if err != nil || len(s.spec.Publish) > 0 || s.spec.PublishAll || s.spec.HoldPorts {
		t.Errorf("host network: %+v, %v", s.spec, err)
	}
	s, err = collect("image", []Option{oneShot(nil)})
	if err != nil || s.spec.PublishAll || s.spec.HoldPorts {
		t.Errorf("a command: %+v, %v", s.spec, err)
	}
}

// SQLlike uses a port as a database does, whatever drivers there are.
func SQLlike(port int) Strategy { return HTTP(port, "/") }

func portList(s *settings) string {
	var all []string
	for _, p := range s.spec.Publish {
		all = append(all, listenerTexts([]sandbox.Listener{{Protocol: protocolOf(p), Port: p.Port}})[0][1:])
	}
	return strings.Join(all, " ")
}

func TestTheLastOptionWins(t *testing.T) {
	s, err := collect("image", []Option{Options(User("a"), Args("x"), Env("A", "1")), User("b"), Args("y", "z"), EnvMap(map[string]string{"C": "3", "B": "2"})})
	if err != nil {
		t.Fatal(err)
	}
	if s.spec.User != "b" || strings.Join(s.spec.Args, " ") != "y z" || strings.Join(s.spec.Env, " ") != "A=1 B=2 C=3" {
		t.Errorf("got %+v", s.spec)
	}
}

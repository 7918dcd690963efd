package main

import (
	"encoding/json"

	"github.com/bivouac-run/bivouac/sandbox"
)

// containerInspection is a container as Docker describes it. The names of fields are those of the JSON, which templates use.
type containerInspection struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           inspectedState
	Image           string
	LogPath         string
	Name            string
	RestartCount    int
	Driver          string
	Platform        string
	HostConfig      inspectedHostConfig
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []inspectedMount
	Config          inspectedConfig
	NetworkSettings inspectedNetwork
}

// Id is the JSON's name, for templates.
func (c containerInspection) Id() string { return c.ID } //nolint:staticcheck // Docker's name

// inspectedState is what the program does. Times of what was not yet are Docker's zero.
type inspectedState struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	Health     *inspectedHealth `json:",omitempty"`
}

type inspectedHealth struct {
	Status        string
	FailingStreak int
	Log           []inspectedCheck
}

type inspectedCheck struct {
	Start    string
	End      string
	ExitCode int
	Output   string
}

type inspectedHostConfig struct {
	Binds           []string
	LogConfig       inspectedLog
	NetworkMode     string
	PortBindings    map[string][]inspectedPort
	RestartPolicy   inspectedRestart
	AutoRemove      bool
	VolumesFrom     []string
	CapAdd          []string
	CapDrop         []string
	ExtraHosts      []string
	GroupAdd        []string
	Privileged      bool
	PublishAllPorts bool
	ReadonlyRootfs  bool
	SecurityOpt     []string
	Tmpfs           map[string]string `json:",omitempty"`
	ShmSize         int64
	NanoCpus        int64
	Memory          int64
	MemorySwap      int64
	PidsLimit       *int64
	Ulimits         []inspectedUlimit
	Init            *bool `json:",omitempty"`
	MaskedPaths     []string
	ReadonlyPaths   []string
	refusedHostConfig
}

// refusedHostConfig is what run refuses to be given, as it is without: for templates and scripts that look at any container.
type refusedHostConfig struct {
	IpcMode, CgroupnsMode        string // always private
	PidMode, UTSMode, UsernsMode string
	CpuShares                    int64 //nolint:staticcheck // Docker's names
	CpuPeriod, CpuQuota          int64 //nolint:staticcheck // Docker's names
	CpusetCpus, CpusetMems       string
	MemoryReservation            int64
	OomKillDisable               bool
	Devices                      []string
	Dns, DnsOptions, DnsSearch   []string //nolint:staticcheck // Docker's names
	Links                        []string
	Sysctls                      map[string]string
}

type inspectedLog struct {
	Type   string
	Config map[string]string
}

type inspectedRestart struct {
	Name              string
	MaximumRetryCount int
}

type inspectedUlimit struct {
	Name string
	Hard int64
	Soft int64
}

type inspectedMount struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

type inspectedConfig struct {
	Hostname     string
	User         string
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *sandbox.Healthcheck `json:",omitempty"`
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string
	StopTimeout  *int `json:",omitempty"`
}

type inspectedNetwork struct {
	Ports    map[string][]inspectedPort
	Networks map[string]inspectedEndpoint
	inspectedAddress
}

// inspectedEndpoint is a container's place in a network.
type inspectedEndpoint struct {
	inspectedAddress
	Aliases               []string
	NetworkID, EndpointID string
}

// inspectedAddress is empty: containers have none that anybody else reaches.
type inspectedAddress struct {
	IPAddress, Gateway, MacAddress string
	IPPrefixLen                    int
	GlobalIPv6Address, IPv6Gateway string
	GlobalIPv6PrefixLen            int
}

// inspectedPort is an address of the machine.
type inspectedPort struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// HostIp is the JSON's name, for templates.
func (p inspectedPort) HostIp() string { return p.HostIP } //nolint:staticcheck // Docker's name

// commandOfImage is what of an image's configuration a container's needs.
type commandOfImage struct {
	Entrypoint, Cmd []string
	Volumes         map[string]struct{}
}

// readCommandOfImage reads an image's configuration; what cannot be read of it is not shown.
func readCommandOfImage(config json.RawMessage) (c commandOfImage) {
	_ = json.Unmarshal(config, &c)
	return c
}

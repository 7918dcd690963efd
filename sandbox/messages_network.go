package sandbox

import "time"

// The kinds of messages about what a container does on its network, and about what runs in it.
const (
	KindDial           = "dial"            // [DialRequest]; done: nothing, with the connected socket
	KindAwaitListening = "await-listening" // [AwaitListeningRequest]; done: nothing
	KindListening      = "listening"       // [ListeningRequest]; done: list of [Listener]
	KindOpenPorts      = "open-ports"      // [OpenPortsRequest]; done: nothing
	KindProcesses      = "processes"       // [ProcessesRequest]; done: list of [ProcessInfo]
	KindStats          = "stats"           // [StatsRequest]; done: [Stats]
)

// DialRequest asks for a connection made inside the container.
type DialRequest struct {
	ContainerRequest
	Network string `json:"network"`
	Address string `json:"address"`
}

// AwaitListeningRequest asks to be told when something listens on a port.
type AwaitListeningRequest struct {
	ContainerRequest
	Network string `json:"network"`
	Port    uint16 `json:"port"`
}

// ListeningRequest asks what listens.
type ListeningRequest struct{ ContainerRequest }

// OpenPortsRequest lets held connections through.
type OpenPortsRequest struct{ ContainerRequest }

// ProcessesRequest asks what runs.
type ProcessesRequest struct{ ContainerRequest }

// StatsRequest asks what the container uses.
type StatsRequest struct{ ContainerRequest }

// Listener is a socket that waits for connections, or for datagrams of any sender.
type Listener struct {
	// Protocol is tcp, udp or unix.
	Protocol string `json:"protocol"`
	// IP is the address it is bound to, as 0.0.0.0 or ::1; empty for unix.
	IP string `json:"ip,omitempty"`
	// Port is 0 for unix.
	Port uint16 `json:"port,omitempty"`
	// Path is a unix socket's as its program bound it, or @ and a name without a file.
	Path string `json:"path,omitempty"`
}

// ProcessInfo tells of a process of a container.
type ProcessInfo struct {
	// PID and PPID are the container's own numbers. PPID is 0 for the first process and for those of [Container.Exec].
	PID  int `json:"pid"`
	PPID int `json:"ppid"`
	// UID is the effective user's number in the container.
	UID int `json:"uid"`
	// Args is the command line; that of a zombie is empty, and a program may write there what it likes.
	Args []string `json:"args,omitempty"`
	// Name is the kernel's short name of the program (comm).
	Name string `json:"name"`
	// State is the letter of proc(5): R, S, D, T, t, Z, X or I.
	State string `json:"state"`
	// RSS is the resident memory in bytes, Size the whole address space.
	RSS  int64 `json:"rss"`
	Size int64 `json:"size"`
	// Threads is how many there are.
	Threads int `json:"threads"`
	// CPU is the time that it has used on all processors, without that of its children.
	CPU time.Duration `json:"cpu"`
	// TTY is its terminal, such as pts/0, empty without one.
	TTY string `json:"tty,omitempty"`
	// Started is when, exact to 10 ms.
	Started time.Time `json:"started"`
}

// Stats are what a container uses. What the machine does not tell is 0.
type Stats struct {
	// Time is when the rest was read.
	Time time.Time `json:"time"`
	// CPU is the time on all processors since the program's start, waited-for children included.
	CPU time.Duration `json:"cpu"`
	// Processes and Threads are those that there are.
	Processes int `json:"processes"`
	Threads   int `json:"threads"`
	// RSS and PSS are bytes of memory, summed over the processes; PSS counts what processes share once.
	RSS int64 `json:"rss"`
	PSS int64 `json:"pss"`
	// Memory is what is counted against the memory limit, page cache included; 0 without a cgroup of its own.
	Memory int64 `json:"memory,omitempty"`
	// Received and Sent are bytes through the container's network interfaces; 0 with the host's network.
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
	// Read and Written are bytes that went to and from disks for the processes that there are, and the ended ones that were
	// waited for.
	Read    int64 `json:"read"`
	Written int64 `json:"written"`
}

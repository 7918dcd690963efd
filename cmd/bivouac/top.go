package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bivouac-run/bivouac/sandbox"
)

func newTopCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "top CONTAINER [ps OPTIONS]",
		DisableFlagsInUseLine: true,
		Short:                 "List the processes of a running container",
		Long: `List the processes of a running container, with their numbers in it and the names that its users have there. Of the options of
ps(1) there are -e, -f, aux and the like, and -o with columns: pid, ppid, user, uid, args, comm, stat, rss, vsz, pcpu, pmem,
time, etime, stime, tty, nlwp, and their other names. CONTAINER is a name, or an id or its beginning.`,
		Example: `  bivouac top web
  bivouac top web -o pid,user,rss,args`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			columns, err := parseColumns(args[1:])
			if err != nil {
				return err
			}
			return top(cmd.Context(), cmd.OutOrStdout(), args[0], columns)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the container is for ps
	return cmd
}

func top(ctx context.Context, w io.Writer, name string, columns []psColumn) error {
	return withRunning(ctx, name, "list the processes of", func(a *sandbox.Attached) error {
		list, err := a.Processes(ctx)
		if err != nil {
			return err
		}
		return writeProcesses(w, columns, list, &psMachine{now: time.Now(), memory: machineMemory(), users: usersOf(a.FS(ctx))})
	})
}

func writeProcesses(w io.Writer, columns []psColumn, list []sandbox.ProcessInfo, m *psMachine) error {
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 8, 1, 3, ' ', 0)
	cells := make([]string, len(columns))
	line := func(cell func(psColumn) string) {
		for i, c := range columns {
			cells[i] = strings.ReplaceAll(printable(cell(c)), "\t", " ")
		}
		_, _ = io.WriteString(table, strings.Join(cells, "\t")+"\n") // to memory
	}
	line(func(c psColumn) string { return c.title })
	for _, p := range list {
		line(func(c psColumn) string { return c.value(p, m) })
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return show(w, trimLines(out.Bytes()))
}

// psColumn is a column of ps(1).
type psColumn struct {
	title string
	value func(sandbox.ProcessInfo, *psMachine) string
}

// psMachine is what columns need to know besides.
type psMachine struct {
	now    time.Time
	memory int64 // in bytes
	users  map[int]string
}

func (m *psMachine) user(uid int) string {
	if name := m.users[uid]; name != "" {
		return name
	}
	return strconv.Itoa(uid)
}

// The columns of ps -ef and ps aux.
const (
	psFull = "user=UID,pid,ppid,c,stime,tty,time,args=CMD"
	psUser = "user,pid,%cpu,%mem,vsz,rss,tty,stat,start,time,args"
)

// parseColumns reads options of ps.
//
// Errors: usageError.
func parseColumns(args []string) ([]psColumn, error) {
	var lists []string
	layout := psFull
	for i := 0; i < len(args); i++ {
		option := strings.TrimLeft(args[i], "-")
		switch {
		case option == "o" || option == "format" || strings.HasSuffix(option, "o") && strings.Trim(option, "efaxwo") == "":
			if i++; i == len(args) {
				return nil, usageErrorf("top: %s needs columns, such as pid,user,args", args[i-1])
			}
			lists = append(lists, args[i])
		case strings.HasPrefix(option, "o") && option != "o":
			lists = append(lists, strings.TrimPrefix(option[1:], "="))
		case strings.HasPrefix(option, "format="):
			lists = append(lists, strings.TrimPrefix(option, "format="))
		case option != "" && strings.Trim(option, "aefxuw") == "":
			if strings.Contains(option, "u") {
				layout = psUser
			}
		default:
			return nil, usageErrorf("top: ps's option %q is not known here; use -ef, aux, or -o with columns", args[i])
		}
	}
	if len(lists) == 0 {
		lists = []string{layout}
	}
	return columnsOf(lists)
}

func columnsOf(lists []string) ([]psColumn, error) {
	var columns []psColumn
	for name := range strings.FieldsFuncSeq(strings.Join(lists, ","), func(r rune) bool { return r == ',' || r == ' ' }) {
		name, title, renamed := strings.Cut(name, "=")
		c, ok := columnNamed(name)
		if !ok {
			return nil, usageErrorf("top: there is no column %q; use pid, ppid, user, uid, args, comm, stat, rss, vsz, pcpu, pmem, time, etime, stime, tty, nlwp", name)
		}
		if renamed {
			c.title = title
		}
		columns = append(columns, c)
	}
	if len(columns) == 0 {
		return nil, usageErrorf("top: -o names no columns; use such as pid,user,args")
	}
	return columns, nil
}

// columnNamed returns the column that one of ps's names means.
func columnNamed(name string) (psColumn, bool) { //nolint:gocyclo // a table
	switch name {
	case "pid":
		return psColumn{"PID", func(p sandbox.ProcessInfo, _ *psMachine) string { return strconv.Itoa(p.PID) }}, true
	case "ppid":
		return psColumn{"PPID", func(p sandbox.ProcessInfo, _ *psMachine) string { return strconv.Itoa(p.PPID) }}, true
	case "user", "euser", "uname":
		return psColumn{"USER", func(p sandbox.ProcessInfo, m *psMachine) string { return m.user(p.UID) }}, true
	case "uid", "euid":
		return psColumn{"UID", func(p sandbox.ProcessInfo, _ *psMachine) string { return strconv.Itoa(p.UID) }}, true
	case "args", "cmd", "command":
		return psColumn{map[bool]string{true: "CMD", false: "COMMAND"}[name == "cmd"], commandOf}, true
	case "comm", "ucmd", "ucomm":
		return psColumn{"COMMAND", func(p sandbox.ProcessInfo, _ *psMachine) string { return p.Name }}, true
	case "stat", "state", "s":
		return psColumn{map[bool]string{true: "STAT", false: "S"}[name == "stat"], func(p sandbox.ProcessInfo, _ *psMachine) string { return p.State }}, true
	case "rss", "rssize", "rsz":
		return psColumn{"RSS", func(p sandbox.ProcessInfo, _ *psMachine) string { return strconv.FormatInt(p.RSS>>10, 10) }}, true
	case "vsz", "vsize":
		return psColumn{"VSZ", func(p sandbox.ProcessInfo, _ *psMachine) string { return strconv.FormatInt(p.Size>>10, 10) }}, true
	case "nlwp", "thcount":
		return psColumn{"NLWP", func(p sandbox.ProcessInfo, _ *psMachine) string { return strconv.Itoa(p.Threads) }}, true
	case "c":
		return psColumn{"C", func(p sandbox.ProcessInfo, m *psMachine) string { return fmt.Sprintf("%.0f", 100*m.processors(p)) }}, true
	case "pcpu", "%cpu":
		return psColumn{"%CPU", func(p sandbox.ProcessInfo, m *psMachine) string { return fmt.Sprintf("%.1f", 100*m.processors(p)) }}, true
	case "pmem", "%mem":
		return psColumn{"%MEM", func(p sandbox.ProcessInfo, m *psMachine) string {
			return fmt.Sprintf("%.1f", 100*ratio(p.RSS, m.memory))
		}}, true
	case "time", "cputime":
		return psColumn{"TIME", func(p sandbox.ProcessInfo, _ *psMachine) string { return clock(p.CPU, true) }}, true
	case "etime":
		return psColumn{"ELAPSED", func(p sandbox.ProcessInfo, m *psMachine) string { return clock(m.age(p), false) }}, true
	case "stime", "start", "start_time", "bsdstart":
		return psColumn{map[bool]string{true: "STIME", false: "START"}[name == "stime"], startOf}, true
	case "tty", "tt", "tname":
		return psColumn{"TTY", terminalOf}, true
	}
	return psColumn{}, false
}

func commandOf(p sandbox.ProcessInfo, _ *psMachine) string {
	if len(p.Args) == 0 { // a zombie
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Args, " ")
}

func terminalOf(p sandbox.ProcessInfo, _ *psMachine) string {
	if p.TTY == "" {
		return "?"
	}
	return p.TTY
}

// startOf is the time of today, or the day.
func startOf(p sandbox.ProcessInfo, m *psMachine) string {
	start := p.Started.Local()
	if m.now.Sub(start) < 24*time.Hour {
		return start.Format("15:04")
	}
	return start.Format("Jan02")
}

func (m *psMachine) age(p sandbox.ProcessInfo) time.Duration { return max(0, m.now.Sub(p.Started)) }

// processors is how many the process has kept busy since its start.
func (m *psMachine) processors(p sandbox.ProcessInfo) float64 {
	return ratio(int64(p.CPU), int64(m.age(p)))
}

// clock is ps's [DAYS-]HOURS:MINUTES:SECONDS, without hours if there are none and that is wanted.
func clock(d time.Duration, hours bool) string {
	s := int(d.Seconds())
	text := fmt.Sprintf("%02d:%02d", s/60%60, s%60)
	if hours || s >= 3600 {
		text = fmt.Sprintf("%02d:%s", s/3600%24, text)
	}
	if days := s / 86400; days > 0 {
		text = fmt.Sprintf("%d-%s", days, text)
	}
	return text
}

// maxPasswd bounds what is read of a container's user names: it may say what it likes.
const maxPasswd = 1 << 20

// usersOf reads the names of a container's users. Without a file that can be read there are none.
func usersOf(files fs.FS) map[int]string {
	users := map[int]string{}
	f, err := files.Open("etc/passwd")
	if err != nil {
		return users
	}
	defer f.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(io.LimitReader(f, maxPasswd))
	if err != nil {
		return users
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(line, ":")
		if len(fields) < 3 {
			continue
		}
		if uid, err := strconv.Atoi(fields[2]); err == nil && users[uid] == "" {
			users[uid] = fields[0]
		}
	}
	return users
}

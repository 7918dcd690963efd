package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// anHour is what timers are set to. They are looked at soon.
var anHour = unix.ItimerSpec{Value: unix.Timespec{Sec: 3600}}

func nearly(seconds int64) error {
	if seconds > 3000 && seconds <= 3600 {
		return nil
	}
	return fmt.Errorf("%d seconds remain", seconds)
}

func timerfd() (func() error, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return func() error {
		var now unix.ItimerSpec
		return errors.Join(unix.TimerfdGettime(fd, &now), nearly(now.Value.Sec))
	}, unix.TimerfdSettime(fd, 0, &anHour, nil)
}

func posixTimer() (func() error, error) {
	event := struct{ value, signo, notify, rest [2]int32 }{}
	event.signo[1] = 1 // SIGEV_NONE
	var id int32
	if err := sys(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, pointer(&event), pointer(&id)); err != nil {
		return nil, err
	}
	return func() error {
		var now unix.ItimerSpec
		err := sys(unix.SYS_TIMER_GETTIME, uintptr(id), pointer(&now))
		return errors.Join(err, nearly(now.Value.Sec))
	}, sys(unix.SYS_TIMER_SETTIME, uintptr(id), 0, pointer(&anHour), 0)
}

func intervalTimer() (func() error, error) {
	_, err := unix.Setitimer(unix.ITIMER_VIRTUAL, unix.Itimerval{Value: unix.Timeval{Sec: 3600}})
	return func() error {
		now, err := unix.Getitimer(unix.ITIMER_VIRTUAL)
		return errors.Join(err, nearly(now.Value.Sec))
	}, err
}

// alarm rings again and again.
func alarm() (func() error, error) {
	rings := make(chan os.Signal, 1)
	signal.Notify(rings, unix.SIGALRM)
	tick := unix.Timeval{Usec: 20_000}
	_, err := unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Interval: tick, Value: tick})
	return func() error {
		for range 3 {
			select {
			case <-rings:
			case <-time.After(5 * time.Second):
				return errors.New("it does not ring")
			}
		}
		return nil
	}, err
}

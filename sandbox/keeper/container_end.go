package keeper

import (
	"errors"
)

// discard ends and removes what there is of the container, and returns once it is gone. What fails here ends with the keeper.
//
// Errors: CodeAlreadyFinished if it went back to the store instead.
func (c *container) discard() error { return c.end(true) }

// putDown ends the container, and leaves one that is kept in the store.
func (c *container) putDown() error { return c.end(false) }

func (c *container) end(remove bool) error {
	remove = remove || c.record == nil
	c.ending.Do(func() {
		c.removed = remove
		c.endFailed = c.takeDown(remove)
	})
	if remove && !c.removed {
		return c.gone("remove")
	}
	return c.endFailed
}

func (c *container) takeDown(remove bool) error {
	defer c.noLongerDetached()
	c.mu.Lock()
	c.discarding = true
	c.mu.Unlock()
	c.endLife()
	c.giveUpRestart()
	if c.record == nil {
		c.k.doors.close(c)
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.last != nil {
		c.last.kill()
	}
	c.settle()
	c.endCopies()
	c.closeTerminal()
	c.k.doors.close(c) // of one that is kept after its end is on record, which tells a killed keeper from one that has ended
	err := errors.Join(c.releasePorts(), c.release())
	c.closeLog()
	if c.record == nil {
		err = errors.Join(err, c.dropVolumes(true))
	}
	if c.area != nil && c.record == nil {
		err = errors.Join(err, c.area.remove())
	}
	if c.source != nil {
		c.k.release(c.source)
	}
	if c.record != nil {
		err = errors.Join(err, c.storeBack(remove))
	}
	if remove {
		c.emitDestroy()
	}
	return err
}

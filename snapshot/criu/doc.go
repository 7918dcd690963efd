// Package criu is all that is known here about CRIU but for namespaces: where it is and how it is executed by descriptors
// ([Find], [Installation.Command]), the conversation with it ([Dump], [Restore]), what it cannot dump ([Inspect]), what
// its logs mean ([Diagnose]), and what its images hold ([AddSeccomp], [Processes]).
//
// CRIU runs inside of the container's user, mount, pid, network and UTS namespaces, whose files belong to the container:
// nothing of CRIU may be taken from there. So its loader, its libraries, its directories and itself are descriptors, it
// has no environment but [Command.Env], reads no configuration files and loads no plugins. It knows nobody outside: its
// client's process has the number 0 there, so the options that CRIU resolves by that number (images_dir_fd, work_dir_fd,
// status_fd, pidfd_store_sk) cannot be used.
package criu

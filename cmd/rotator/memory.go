package main

import (
	"golang.org/x/sys/unix"
)

// closeMemory keeps the keys in this process's memory from other processes of the same user and from core files: no
// core is dumped, and /proc/PID/mem and ptrace are closed to all but root. Where the system refuses, the program runs on
// as it would have.
func closeMemory() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

package brokertest

import (
	"os/exec"
	"syscall"
)

// EndWithParent has the system end a process, yet to be started, when this one
// ends, however that comes about.
func EndWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

"""Runs the command of a downstream server: `guard.py WORKER_PID COMMAND...`. Nothing of it outlives its worker.

On Linux the kernel tells this process when the thread that started it ends, `kill -9` included; it then kills the command and
whatever that has started. It is run as a file, with an interpreter that loads nothing else, and stands on the standard
library alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GONE = signal.SIGUSR1
CANNOT_RUN = "cannot be run"
_GRACE = 1.5  # seconds; the SDK kills this process after two, and could not reach what has left its group
_NOT_RUN = 126  # what shells answer for it


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _children() -> list[int]:
    """Processes whose parent this is: the command, and what lost its own parent."""
    found: list[int] = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        if parent == os.getpid():
            found.append(int(name))
    return found


def _kill_all() -> None:
    """Kills every descendant: of one that is killed, the children become ours."""
    while True:
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _end(number: int, frame: FrameType | None) -> NoReturn:
    _kill_all()
    os._exit(128 + number)


def _wait_on(number: int, frame: FrameType | None) -> None:
    """The signal goes to the whole group: the command ends, and then this does; a command that does not is killed."""
    signal.setitimer(signal.ITIMER_REAL, _GRACE)


def _run(command: list[str], guard: int) -> NoReturn:
    """In the child: becomes the command, which does not outlive the guard."""
    try:
        for number in (_GONE, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [_GONE, signal.SIGTERM])
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == guard:
            os.execvp(command[0], command)  # noqa: S606 - a command of the configuration, and no shell
    except OSError as error:
        sys.stderr.write(f"`{command[0]}` {CANNOT_RUN}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(_NOT_RUN)


def _let_go_of_pipes() -> None:
    """The pipes are the command's alone, so that their other ends see when it ends."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def main(worker: int, command: list[str]) -> NoReturn:
    """Runs `command` until it ends or the process `worker` does; ends with its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [_GONE, signal.SIGTERM])
    signal.signal(_GONE, _end)
    signal.signal(signal.SIGTERM, _wait_on)
    signal.signal(signal.SIGALRM, _end)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, _GONE)
    if os.getppid() != worker:
        os._exit(128 + _GONE)
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        _run(command, guard)
    _let_go_of_pipes()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [_GONE, signal.SIGTERM])
    while True:
        pid, status = os.wait()
        if pid == child:
            _kill_all()
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

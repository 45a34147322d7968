"""Keeps one Temporal dev server running for all processes of one user, and stops it when the last one is gone.

Run as a script, detached, by `dev_server.py`; only the standard library is imported, so that it costs little memory.
What it shares with its clients is a folder (`design.md`, "The embedded engine"):

    clients.lock   held (shared) by every client for life; whoever gets it exclusively knows that there is none
    keeper.lock    held by the keeper for life, with its process id
    temporal.lock  held by Temporal's process for life, with its process id
    server.json    where Temporal is, written when it accepts connections, removed when it is stopped
    ports.json     the ports it had last, so that its clients find it again where it was
    temporal.db    the database           log  what both print
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = (
    # Steps are handed out without waiting for the next of 20 looks a second; timers keep their time below a second.
    "history.transferProcessorMaxPollRPS=1000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "system.enableActivityEagerExecution=true",
)
# Writes still wait for the disk (FULL), but for one file and not for two: a step costs Temporal about a third less CPU.
PRAGMAS = ("journal_mode=wal", "synchronous=2")
STOPS_WITHIN = 10.0
STARTING_LOOK = 0.02
LONGEST_LOOK = 1.0
TRIES_AT_FIRST = 2
TRIES_AFTER_A_CRASH = 5
STEADY_AFTER = 10.0
PR_SET_PDEATHSIG = 1


class Keeper:
    """
    Args:
        folder: What is shared with the clients.
        binary: The `temporal` program.
        grace: Seconds without a client after which Temporal is stopped.
    """

    def __init__(self, folder: Path, binary: str, grace: float) -> None:
        self._folder = folder
        self._binary = binary
        self._grace = grace
        self._look = min(LONGEST_LOOK, grace / 4 or STARTING_LOOK)
        self._signals = Signals()
        self._clients = open_private(folder / "clients.lock")
        self._last_client = self._next_look = time.monotonic()
        self._ports = _ports_of_last_time(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._was_up = False

    def run(self) -> None:
        """Until there has been no client for `grace` seconds, a signal asks to stop, or Temporal cannot be kept running."""
        if not (self._folder / "temporal.db").exists():
            (self._folder / "cluster").unlink(missing_ok=True)  # a new database has a new id
        _end_orphan(self._folder / "temporal.lock")
        try:
            self._keep()
        finally:
            self._stop()

    def _keep(self) -> None:
        failures = 0
        while failures < (TRIES_AFTER_A_CRASH if self._was_up else TRIES_AT_FIRST):
            if failures > 1:
                self._signals.wait(2.0 ** (failures - 3))
            began = time.monotonic()
            self._process = self._start()
            if self._watch(self._process):
                return
            failures = failures + 1 if time.monotonic() - began < STEADY_AFTER else 1
            (self._folder / "server.json").unlink(missing_ok=True)
            _say(f"Temporal has ended with {self._process.returncode}")

    def _start(self) -> subprocess.Popen[bytes]:
        port, ui_port = self._ports = _two_ports(*self._ports)
        _write(self._folder / "ports.json", {"port": port, "ui_port": ui_port})
        command = [self._binary, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--ui-port", str(ui_port)]
        command += ["--db-filename", str(self._folder / "temporal.db"), "--log-level", "error"]
        command += [part for setting in SETTINGS for part in ("--dynamic-config-value", setting)]
        command += [part for pragma in PRAGMAS for part in ("--sqlite-pragma", pragma)]
        lock = open_private(self._folder / "temporal.lock")
        try:
            if not _lock_within(lock, STOPS_WITHIN):
                raise SystemExit("a part of the Temporal that has ended still runs")
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(lock,),
                preexec_fn=_before_temporal(lock),  # noqa: PLW1509 - there are no threads here
            )
        finally:
            os.close(lock)  # Temporal's own copy holds the lock from now on

    def _watch(self, process: subprocess.Popen[bytes]) -> bool:
        """True when Temporal is not wanted any more, false when it has ended by itself."""
        announced = False
        while process.poll() is None:
            if self._signals.stop or self._without_clients():
                return True
            if not announced and _answers(self._ports[0]):
                self._announce(process)
                announced = self._was_up = True
            self._signals.wait(self._look if announced else STARTING_LOOK)
        return False

    def _without_clients(self) -> bool:
        """Keeps the lock when it says yes: a client that comes now waits until this process has ended."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + self._look / 2
        if not try_lock(self._clients):
            self._last_client = now
        elif now - self._last_client >= self._grace:
            return True
        else:
            fcntl.flock(self._clients, fcntl.LOCK_UN)
        return False

    def _announce(self, process: subprocess.Popen[bytes]) -> None:
        port, ui_port = self._ports
        where = {"address": f"127.0.0.1:{port}", "ui_url": f"http://127.0.0.1:{ui_port}"}
        _write(self._folder / "server.json", {**where, "keeper_pid": os.getpid(), "server_pid": process.pid})

    def _stop(self) -> None:
        (self._folder / "server.json").unlink(missing_ok=True)
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Signals:
    """A sleep that ends early with a signal: a child has ended, or this process is asked to stop."""

    def __init__(self) -> None:
        self.stop = False
        self._wakes, wake = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._child_ended)  # a signal that is ignored wakes nobody
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)

    def _child_ended(self, *_: object) -> None:
        pass

    def _asked_to_stop(self, *_: object) -> None:
        self.stop = True

    def wait(self, seconds: float) -> None:
        if not self.stop and select.select([self._wakes], [], [], seconds)[0]:
            os.read(self._wakes, 4096)


def open_private(path: Path) -> int:
    """A file for a lock: of its owner only, and not handed on to children."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(file: int) -> bool:
    """Whether the file could be locked exclusively, now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_within(file: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (locked := try_lock(file)) and time.monotonic() < deadline:
        time.sleep(STARTING_LOOK)
    return locked


def _sign(file: int) -> None:
    """Writes who holds the lock into its file."""
    os.ftruncate(file, 0)
    os.pwrite(file, str(os.getpid()).encode(), 0)


def _detach() -> None:
    """Goes on in a process that is nobody's child, in a session of its own; the lock goes along."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()


def _end_orphan(path: Path) -> None:
    """Ends a Temporal whose keeper was killed: two would share the database."""
    lock = open_private(path)
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _lock_within(lock, 0.5):
                return
            pid = int(os.pread(lock, 20, 0))
            _say(f"ending process {pid}, a Temporal whose keeper is gone")
            os.kill(pid, number)
            if _lock_within(lock, STOPS_WITHIN):
                return
    except (ValueError, ProcessLookupError):
        if _lock_within(lock, 1.0):
            return
    finally:
        os.close(lock)
    raise SystemExit(f"another process holds `{path}` and cannot be ended: end the Temporal that uses this folder")


def _before_temporal(lock: int) -> Callable[[], None]:
    """What Temporal's process does first: it signs the lock, and on Linux ends with its keeper (else the next keeper ends it)."""
    keeper = os.getpid()

    def prepare() -> None:
        _sign(lock)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)

    return prepare


def _ports_of_last_time(folder: Path) -> tuple[int, int]:
    try:
        before: dict[str, Any] = json.loads((folder / "ports.json").read_text())
        return int(before["port"]), int(before["ui_port"])
    except (OSError, ValueError, KeyError, TypeError):
        return _free_port(), _free_port()


def _two_ports(first: int, second: int) -> tuple[int, int]:
    """These, and others for those that are taken."""
    first = first if _is_free(first) else _free_port()
    while second == first or not _is_free(second):
        second = _free_port()
    return first, second


def _free_port() -> int:
    """Below those that the system hands out by itself, which any outgoing connection may take first."""
    while True:
        port = random.randrange(20_000, 32_000)
        if _is_free(port):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content))
    part.replace(path)


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} keeper {os.getpid()}: {text}\n")
    sys.stderr.flush()


def main() -> None:
    """Returns at once, with a keeper of the folder running in the background: a new one, or the one that was there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("binary")
    parser.add_argument("--grace", type=float, default=60.0, help="seconds without a client after which Temporal is stopped")
    given = parser.parse_args()
    os.umask(0o077)
    lock = open_private(given.folder / "keeper.lock")
    if not _lock_within(lock, 1.0):  # a client that looks whether a keeper lives holds it for an instant
        return
    (given.folder / "server.json").unlink(missing_ok=True)  # before a client looks: it speaks of a keeper that is gone
    _detach()
    _sign(lock)
    Keeper(given.folder, given.binary, given.grace).run()


if __name__ == "__main__":
    main()

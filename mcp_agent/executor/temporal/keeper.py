"""Keeps one Temporal dev server running for all processes of one user, and stops it when the last one is gone.

Run as a script, detached, by `dev_server.py`; only the standard library is imported, so that it costs little memory.
What it shares with its clients is a folder (`design.md`, "The embedded engine"):

    clients.lock   held (shared) by every client for life; whoever gets it exclusively knows that there is none
    keeper.lock    held (exclusively) by the keeper for life
    server.json    where Temporal is, written when it accepts connections
    temporal.db    the database        temporal.pid  its process        log  what both print
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SETTINGS = (
    # Steps are handed out without waiting for the next of 20 looks a second; timers keep their time below a second.
    "history.transferProcessorMaxPollRPS=1000",
    'history.timerProcessorMaxTimeShift="10ms"',
    "system.enableActivityEagerExecution=true",
)
STARTS_WITHIN = 30.0
STOPS_WITHIN = 10.0
QUICK = 5.0
QUICK_ENDS = 5
PR_SET_PDEATHSIG = 1


class Keeper:
    """Args:
    folder: What is shared with the clients.
    binary: The `temporal` program.
    grace: Seconds without a client after which Temporal is stopped.
    """

    def __init__(self, folder: Path, binary: str, grace: float) -> None:
        self._folder = folder
        self._binary = binary
        self._grace = grace
        self._ports = _ports(folder / "server.json")
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until there has been no client for `grace` seconds, or Temporal cannot be kept running."""
        self._end_orphan()
        quick_ends = 0
        while quick_ends < QUICK_ENDS:
            began = time.monotonic()
            self._start()
            if self._watch():
                break
            quick_ends = quick_ends + 1 if time.monotonic() - began < QUICK else 0
            sys.stderr.write("Temporal ended; starting it again\n")
        self.stop()

    def stop(self) -> None:
        (self._folder / "server.json").unlink(missing_ok=True)
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        (self._folder / "temporal.pid").unlink(missing_ok=True)

    def _start(self) -> None:
        if not all(_free(port) for port in self._ports):
            self._ports = (_free_port(), _free_port())
        port, ui_port = self._ports
        command = [self._binary, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port)]
        command += [
            "--ui-port",
            str(ui_port),
            "--db-filename",
            str(self._folder / "temporal.db"),
            "--log-level",
            "error",
        ]
        command += [part for setting in SETTINGS for part in ("--dynamic-config-value", setting)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)  # noqa: PLW1509 - no threads here
        (self._folder / "temporal.pid").write_text(str(self._process.pid))
        deadline = time.monotonic() + STARTS_WITHIN
        while self._process.poll() is None and time.monotonic() < deadline:
            if _answers(port):
                self._announce()
                return
            time.sleep(0.02)

    def _announce(self) -> None:
        port, ui_port = self._ports
        assert self._process is not None
        where = {
            "address": f"127.0.0.1:{port}",
            "ui_url": f"http://127.0.0.1:{ui_port}",
            "port": port,
            "ui_port": ui_port,
            "keeper_pid": os.getpid(),
            "server_pid": self._process.pid,
        }
        part = self._folder / "server.json.part"
        part.write_text(json.dumps(where))
        part.replace(self._folder / "server.json")

    def _watch(self) -> bool:
        """True when the clients are gone, false when Temporal has ended."""
        assert self._process is not None
        clients = _open(self._folder / "clients.lock")
        last_client = time.monotonic()
        pause = min(1.0, self._grace / 4 or 0.05)
        while True:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(pause)
                return False
            if not _try_lock(clients):
                last_client = time.monotonic()
            elif time.monotonic() - last_client >= self._grace:
                return True  # still locked: a client that comes now waits until Temporal has stopped
            else:
                fcntl.flock(clients, fcntl.LOCK_UN)

    def _end_orphan(self) -> None:
        """A Temporal whose keeper was killed would share the database with ours."""
        with suppress(OSError, ValueError):
            pid = int((self._folder / "temporal.pid").read_text())
            shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
            if str(self._folder / "temporal.db") not in shown.stdout:
                return
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOPS_WITHIN
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_soon(file: int) -> bool:
    """A client that looks whether a keeper lives holds the lock for an instant."""
    deadline = time.monotonic() + 1.0
    while not (locked := _try_lock(file)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return locked


def _detach() -> None:
    """Goes on in a process that is nobody's child, in a session of its own; the lock goes along."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()


def _die_with_parent() -> None:
    """On Linux Temporal ends with its keeper; elsewhere the next keeper ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _ports(server_json: Path) -> tuple[int, int]:
    """Those of last time, so that clients find Temporal again where it was."""
    try:
        before: dict[str, Any] = json.loads(server_json.read_text())
        return int(before["port"]), int(before["ui_port"])
    except (OSError, ValueError, KeyError):
        return _free_port(), _free_port()


def _free_port() -> int:
    """Below those that the system hands out by itself, which any outgoing connection may take first."""
    while True:
        port = random.randrange(20_000, 32_000)
        if _free(port):
            return port


def _free(port: int) -> bool:
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("binary")
    parser.add_argument("--grace", type=float, default=60.0)
    given = parser.parse_args()
    lock = _open(given.folder / "keeper.lock")
    if not _lock_soon(lock):
        return  # another keeper serves this folder
    _detach()
    keeper = Keeper(given.folder, given.binary, given.grace)

    def stop(*_: object) -> None:
        keeper.stop()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    keeper.run()


if __name__ == "__main__":
    main()

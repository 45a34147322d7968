"""What `deploy/` lays down, on this machine: Temporal's nodes by its own files, the image by the Dockerfile's own commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.cluster import Postgres
from tests.cluster.programs import Programs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ENDS_WITHIN = 120.0


@dataclass
class Processes:
    """Processes that are stopped at the end, each with a log of its own."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path = ROOT) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def check(self) -> None:
        """Fails the test if one has ended by itself."""
        for name, process in self.running.items():
            assert process.poll() is None, f"{name} has ended with {process.returncode}: {self.said(name)[-1500:]}"

    def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM; gives what each ended with."""
        stopping = {name: self.running.pop(name) for name in names}
        for process in stopping.values():
            process.terminate()
        return {name: process.wait(ENDS_WITHIN) for name, process in stopping.items()}

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@contextmanager
def processes(folder: Path) -> Generator[Processes, None, None]:
    folder.mkdir()
    made = Processes(folder)
    try:
        yield made
    finally:
        made.kill()


@dataclass(frozen=True, slots=True)
class Nodes:
    """Temporal's nodes, as `deploy/temporal` has them: each on an address of this machine, all with the same ports.

    Args:
        folder: With links to the programs that the scripts call.
    """

    folder: Path
    programs: Programs
    temporal: Path
    postgres: Postgres
    addresses: Sequence[str]

    @property
    def _environment(self) -> dict[str, str]:
        """The variables of the manifests, and this machine's programs."""
        return {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "POSTGRES_ADDRESS": f"127.0.0.1:{self.postgres.port}",
            "POSTGRES_USER": "temporal",
            "POSTGRES_PASSWORD": 'it\'s #1: "secret"',
            "DYNAMIC_CONFIG_FILE": str(DEPLOY / "temporal" / "dynamic.yaml"),
            "LOG_LEVEL": "warn",
        }

    def link_programs(self) -> None:
        self.folder.mkdir()
        (self.folder / "temporal-sql-tool").symlink_to(self.programs.sql_tool)
        (self.folder / "temporal-server").symlink_to(self.programs.server)
        (self.folder / "temporal").symlink_to(self.temporal)

    def script(self, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(DEPLOY / "temporal" / name)]
        return subprocess.run(
            command, env=self._environment | variables, capture_output=True, text=True, check=False, timeout=120
        )

    def start(self, started: Processes) -> None:
        """By the command of the manifest. Each waits until the one before serves: of several first starts one may lose the race
        for the cluster's metadata, and is then started again by Kubernetes.
        """
        file = DEPLOY / "temporal" / "kubernetes" / "server.yaml"
        (container,) = next(yaml.safe_load_all(file.read_text()))["spec"]["template"]["spec"]["containers"]
        mounted = f"--config-file={DEPLOY / 'temporal' / 'server.yaml'}"
        arguments = [mounted if argument.startswith("--config-file=") else argument for argument in container["args"]]
        command = [str(self.folder / container["command"][0]), *arguments]
        for address in self.addresses:
            own = {"NODE_ADDRESS": address, "BIND_ON_IP": address, "PPROF_HOST": address}
            started.start(f"node-{address}", command, self._environment | own)
            self.make_namespace(address)

    def make_namespace(self, address: str) -> None:
        """Waits until that node serves; makes the namespace through it, or brings it up to date."""
        done = self.script("namespace.sh", TEMPORAL_ADDRESS=f"{address}:7233", NAMESPACE="default", RETENTION="30d")
        assert done.returncode == 0, done.stdout[-800:] + done.stderr[-800:]


class Image:
    """The first stage of the Dockerfile, its commands run with its folders below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
        self._stages = text.split("\nFROM ")[1:]
        self._environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ["HOME"]}
        self._at = folder

    def build(self) -> None:
        for line in self._stages[0].splitlines()[1:]:
            name, _, rest = line.partition(" ")
            handle = {"ARG": self._arg, "WORKDIR": self._workdir, "COPY": self._copy, "RUN": self._run}.get(name)
            if handle is not None:
                handle(rest)

    @property
    def app(self) -> Path:
        return self._inside("/app")

    @property
    def entry_point(self) -> Path:
        (name,) = re.findall(r'^ENTRYPOINT \["(.*)"\]$', self._stages[1], re.MULTILINE)
        return self._inside("/opt/agents/bin") / name

    def files(self) -> set[Path]:
        return {path for path in self.folder.rglob("*") if path.is_file()}

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": f"{self.entry_point.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.app),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/nonexistent",
            **settings,
        }

    def _inside(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self._environment[name] = value

    def _workdir(self, rest: str) -> None:
        self._at = self._inside(rest)
        self._at.mkdir(parents=True)

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        for source in sources:
            to = (self._inside(target) if target.startswith("/") else self._at / target).resolve()
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)

    def _run(self, rest: str) -> None:
        command = re.sub(r"(?<![\w.])/(opt/agents|app)\b", rf"{shlex.quote(str(self.folder))}/\1", rest)
        done = subprocess.run(
            ["bash", "-ec", command], cwd=self._at, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-500:]} {done.stderr[-1500:]}"


def balancer_config(port: int, servers: Sequence[int]) -> str:
    """The balancer's configuration, with servers of this machine instead of those that Compose's name service tells."""
    text = (DEPLOY / "compose" / "haproxy.cfg").read_text()
    listed = "\n".join(f"  server server{n} 127.0.0.1:{server}" for n, server in enumerate(servers, 1))
    text = re.sub(r"^  server-template .*$", listed, text, flags=re.MULTILINE)
    text = re.sub(r"^resolvers .*\n(?:  .*\n)+", "", text, flags=re.MULTILINE)
    return text.replace(" resolvers docker init-addr none", "").replace("bind :8000", f"bind 127.0.0.1:{port}")


def compose_service(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][name]

"""A real Milvus server on this machine, from the package `milvus` (2.3.5), that can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

SOON = {"common.session.ttl": "5", "proxy.timeTickInterval": "20", "log.level": "warn"}
"""A killed server's lease runs out sooner, which the next start waits for, and strong consistency waits less."""

FORGETFUL = {
    "common.security.authorizationEnabled": "true",
    # What lets erased rows leave the disk, in seconds instead of hours (docs/scaling.md).
    "dataCoord.compaction.check.interval": "1",
    "dataCoord.gc.interval": "2",
    "dataCoord.gc.dropTolerance": "2",
    "dataCoord.gc.missingTolerance": "30",
    "dataNode.segment.syncPeriod": "2",  # below the retention: what is only in the queue would be lost with it
    "rocksmq.rocksmqPageSize": "4096",
    "rocksmq.retentionTimeInMinutes": "0.2",
    "rocksmq.timtickerInterval": "2",
    "rocksmq.compactionInterval": "3",
}


class Server:
    """A Milvus standalone process over one data folder."""

    def __init__(self, root: Path, settings: dict[str, str]) -> None:
        import milvus

        self.root = root
        config = milvus.MilvusServerConfig(data_dir=str(root))
        config.resolve()
        milvus._initialize_data_files(str(root))
        client, peer, self._metrics = free_ports(3)
        # Its etcd would listen on 2379 and 2380 whatever the template says, and meet another one there.
        etcd = root / "configs" / "etcd.yaml"
        etcd.write_text(
            f"name: only\nlisten-client-urls: http://127.0.0.1:{client}\n"
            f"advertise-client-urls: http://127.0.0.1:{client}\nlisten-peer-urls: http://127.0.0.1:{peer}\n"
            f"initial-advertise-peer-urls: http://127.0.0.1:{peer}\ninitial-cluster: only=http://127.0.0.1:{peer}\n"
        )
        file = root / "configs" / "milvus.yaml"
        settings = {"etcd.endpoints": f"localhost:{client}", "etcd.config.path": str(etcd)} | SOON | settings
        file.write_text(configured(file.read_text(), settings))
        self.uri = f"http://127.0.0.1:{config.get('proxy_port')}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # Not milvus.MilvusServer: started again, it cannot bind a port on which connections to the killed one linger.
        binaries = self.root / "bin"
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._metrics),
            "MILVUS_RUN_DIR": str(self.root / "run"),
            "LD_LIBRARY_PATH": str(binaries),
        }
        with open(self.root / "logs" / "output.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(binaries / "milvus"), "run", "standalone"],
                cwd=self.root,
                env=environment,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 120
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the Milvus server did not start; see {self.root / 'logs'}")
            time.sleep(0.1)

    def kill(self) -> None:
        """As if the power of the process went: SIGKILL."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/healthz", timeout=10) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def configured(text: str, settings: dict[str, str]) -> str:
    """The server's YAML with settings such as `a.b.c`, also those that its template does not name."""
    whole = yaml.safe_load(text)
    for name, value in settings.items():
        *sections, key = name.split(".")
        place = whole
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = yaml.safe_load(value)
    return yaml.safe_dump(whole)


def started(root: Path, settings: dict[str, str]) -> Server:
    try:
        import milvus  # noqa: F401
        import pymilvus  # noqa: F401
    except ImportError as error:
        if os.environ.get("VULTUS_REQUIRE_SERVERS"):
            pytest.fail(f"a Milvus server is required here: {error}")
        pytest.skip(f"no Milvus server here: {error}")
    server = Server(root, settings)
    server.start()
    return server


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the settings that it comes with."""
    server = started(tmp_path_factory.mktemp("milvus"), {})
    yield server
    server.kill()


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that deletes soon what is no longer needed."""
    server = started(tmp_path_factory.mktemp("forgetful"), FORGETFUL)
    yield server
    server.kill()

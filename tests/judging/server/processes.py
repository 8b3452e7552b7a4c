"""A judge served by a process of its own, as users start it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_SERVE = "import json, sys; from lit_listener.judging.server.run import serve; serve(**json.loads(sys.argv[1]))"


@dataclass
class ServerProcess:
    process: "subprocess.Popen[str]"
    address: str
    log: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def ids(self, event: str) -> set[str]:
        """The request ids of which the log tells an event."""
        lines = [line for line in self.log if f"event={event} " in line]
        return {line.split("request_id=")[1].split()[0] for line in lines}

    def end(self, by: int = signal.SIGTERM, seconds: float = 60) -> int:
        self.process.send_signal(by)
        return self.process.wait(seconds)


@contextlib.contextmanager
def server_process(env: dict[str, str] | None = None, **options: Any) -> Iterator[ServerProcess]:
    """Serve the bundled judge at a free port."""
    given = json.dumps({"model": "shapes", "port": 0, **options})
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    served = ServerProcess(process, "")
    assert process.stderr is not None
    assert process.stdout is not None
    reader = threading.Thread(target=lambda: [served.log.append(line) for line in process.stderr or []], daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        assert " at http" in line, (line, served.log)
        served.address = line.rsplit(" at ", 1)[1].strip()
        yield served
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join(10)
        process.stdout.close()
        process.stderr.close()

"""Training with a listener behind a server: the same as with its weights at hand, whatever befalls the server."""

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lit_listener.__main__ import main
from tests.judging.server.processes import ServerProcess, server_process
from tests.vlm.listeners.faulty_proxy import Fault, FaultyProxy, faulty_proxy

pytest.importorskip("fastapi")
pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "configs" / "shapes" / "remote_listener.yaml"
STEPS = 3
SERVED: dict[str, Any] = {"model": "shapes-instruct", "openai": True}
ALONE: dict[str, Any] = {**SERVED, "batch_size": 1}
"""Each request is a pass of its own, so that its answer is the same to the last bit, whatever comes with it."""


@pytest.fixture(scope="module")
def served() -> Iterator[ServerProcess]:
    with server_process(**ALONE) as process:
        yield process


@pytest.fixture
def proxy(served: ServerProcess) -> Iterator[FaultyProxy]:
    with faulty_proxy(served.port) as proxy:
        yield proxy


def config_of(url: str, folder: Path, **listener: Any) -> Path:
    """The shipped config, of a few steps of few prompts."""
    config = copy.deepcopy(yaml.safe_load(CONFIG.read_text()))
    config["trainer"] |= {"max_steps": STEPS, "limit_val_batches": 0, "enable_progress_bar": False}
    options = config["model"]["init_args"]
    options["group_size"] = 4
    options["listener"]["init_args"] |= {"base_url": url, **listener}
    config["data"] |= {"batch_size": 4}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def fit(url: str, folder: Path, **listener: Any) -> int:
    return main(["fit", "--config", str(config_of(url, folder, **listener)), "--run_dir", str(folder / "run")])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"]  # type: ignore[no-any-return]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "run" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed(served: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert fit(f"{served.address}/v1", folder) == 0
    logged = rows(folder)
    assert [row["step"] for row in logged] == ["0", "1", "2"]
    assert all(0 < float(row["remote/requests"]) <= 16 for row in logged)
    assert all(float(row["remote/retries"]) == 0 for row in logged)
    assert "reasoner" not in json.dumps(logged)
    return weights(folder)


def test_faults_on_the_way_change_nothing(undisturbed, proxy, tmp_path):
    """Every fifth request is refused as too many, cut, or answered by a fault of the server."""
    faults = [Fault(429, {"Retry-After": "0"}), Fault(), Fault(503)]
    proxy.fault = lambda n: faults[n // 5 % 3] if n % 5 == 4 else None
    assert fit(proxy.url, tmp_path) == 0
    assert sum(float(row["remote/retries"]) for row in rows(tmp_path)) >= 3
    assert same(weights(tmp_path), undisturbed)


def test_a_server_that_is_killed_and_started_again_changes_nothing(undisturbed, tmp_path):
    with server_process(**ALONE) as first, faulty_proxy(first.port) as proxy:

        def kill_and_start_again() -> None:
            while proxy.answered < 20:  # in the middle of the second step
                time.sleep(0.005)
            assert first.end(signal.SIGKILL) == -signal.SIGKILL
            time.sleep(1)
            with server_process(**ALONE) as second:
                proxy.target = second.port
                ended.wait(120)

        ended = threading.Event()
        killer = threading.Thread(target=kill_and_start_again)
        killer.start()
        try:
            assert fit(proxy.url, tmp_path) == 0
        finally:
            ended.set()
            killer.join(60)
    assert sum(float(row["remote/retries"]) for row in rows(tmp_path)) > 0
    assert same(weights(tmp_path), undisturbed)


def test_a_server_that_stays_dead_stops_the_run_which_goes_on_from_there(undisturbed, proxy, tmp_path, capsys, caplog):
    caplog.set_level("INFO", "lightning.pytorch.utilities.rank_zero")
    proxy.fault = lambda _: Fault() if proxy.answered >= 20 else None
    assert fit(proxy.url, tmp_path, patience_s=1.5) == 1
    said = capsys.readouterr().err
    assert f"at {proxy.url}: nothing was answered for 1.5 seconds" in said
    assert "go on with: python -m lit_listener fit --resume" in caplog.text
    assert len(rows(tmp_path)) in (1, 2)
    proxy.fault = lambda _: None
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1", "2"]
    assert same(weights(tmp_path), undisturbed)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_waits_for_a_dead_server_stops_the_run_with_nothing_lost(undisturbed, proxy, tmp_path, by):
    proxy.fault = lambda _: Fault() if proxy.answered >= 20 else None
    config = config_of(proxy.url, tmp_path)
    command = [sys.executable, "-m", "lit_listener", "fit", "--config", str(config), "--run_dir", str(tmp_path / "run")]
    with subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True) as process:
        while proxy.answered < 20 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(1)
        process.send_signal(by)
        asked = time.monotonic()
        _, said = process.communicate(timeout=60)
    assert time.monotonic() - asked < 20
    assert process.returncode == 128 + by, said
    proxy.fault = lambda _: None
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    assert same(weights(tmp_path), undisturbed)


def test_two_tenths_of_a_second_on_the_way_are_waited_for_once_a_step(tmp_path):
    """The shipped config: all 128 requests of a step are under way together."""

    def seconds(proxy: FaultyProxy, folder: Path, delay_s: float) -> list[float]:
        proxy.delay_s = delay_s
        config = yaml.safe_load(CONFIG.read_text())
        config["trainer"] |= {"max_steps": 4, "limit_val_batches": 0, "enable_progress_bar": False}
        config["model"]["init_args"]["listener"]["init_args"]["base_url"] = proxy.url
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        run = folder / "run"
        assert main(["fit", "--config", str(folder / "config.yaml"), "--run_dir", str(run)]) == 0
        return [float(row["time/reference_s"]) for row in rows(folder)]

    with server_process(**SERVED) as process, faulty_proxy(process.port) as proxy:
        plain, delayed = (seconds(proxy, tmp_path / str(delay), delay) for delay in (0.0, 0.2))
        print(f"seconds of the reference's pass and the hearing: {plain}; with 0.2 s on the way: {delayed}")
        assert min(delayed) > 0.2
        assert min(delayed) - min(plain) < 0.4
        assert proxy.most_under_way > 30

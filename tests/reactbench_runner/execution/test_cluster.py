"""Workers of a Dask cluster: none there, others there, gone, and of another kind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactbench_runner.calculators import networks
from reactbench_runner.errors import OtherVersions, WorkersLost
from reactbench_runner.execution import cluster
from reactbench_runner.execution.cluster import Same, cluster_at
from reactbench_runner.storage.provenance import versions
from tests.places import REPOSITORY
from tests.reactbench_runner.test_networks import network
from workflows.errors import InputError

NOTHING_TO_COMPARE = Same({}, {})


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Of a cluster with one worker."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        dashboard_address="127.0.0.1:0",
    ) as own:
        yield own.scheduler_address


def doubled(task: int) -> int:
    return 2 * task


def where(task: str) -> str:
    return tempfile.gettempdir()


def stopped(task: str) -> str:
    raise TypeError("no such method")


def answers(address: str, same: Same = NOTHING_TO_COMPARE, work=doubled, tasks=(1, 2)) -> list:
    with cluster_at(address, same, pytest.fail) as pool:
        return sorted(pool(work, list(tasks)))


def test_workers_like_this_process(scheduler: str, tmp_path: Path) -> None:
    assert answers(scheduler, Same.as_here(["gfn2-xtb"])) == [(1, 2), (2, 4)]
    tiny = network(tmp_path / "tiny.safetensors")
    assert answers(scheduler, Same.as_here([f"horm:{tiny}"])) == [(1, 2), (2, 4)]


@pytest.mark.parametrize(
    "package", ["horm-tssearch", "ase", "pysisyphus", "tblite", "sella", "numpy", "torch"]
)
def test_workers_of_other_versions_are_refused(package: str, scheduler: str) -> None:
    here = versions()
    with pytest.raises(OtherVersions, match=rf"a worker of .* has {package} [\w.+]+ inst"):
        answers(scheduler, Same(here | {package: "0.1"}, {}))


def test_workers_with_other_weights_are_refused(scheduler: str, tmp_path: Path) -> None:
    """Another file of that name lies on the machine of the worker."""
    same = Same.as_here([f"horm:{network(tmp_path / 'tiny.safetensors')}"])
    networks.network_entry.cache_clear()
    (tmp_path / "tiny.safetensors").unlink()
    network(tmp_path / "tiny.safetensors", seed=1)
    with pytest.raises(OtherVersions, match=r"other weights in .*tiny\.safetensors"):
        answers(scheduler, same)
    networks.network_entry.cache_clear()


def test_workers_that_cannot_do_it_end_the_run_with_words(scheduler: str) -> None:
    with pytest.raises(OtherVersions, match=r"cannot do what is asked .*TypeError: no such method"):
        answers(scheduler, work=stopped)


def test_temporary_files_lie_where_dask_removes_them(scheduler: str) -> None:
    before = tempfile.gettempdir()
    [(_, folder)] = answers(scheduler, work=where, tasks=["a"])
    assert "dask-scratch-space" in folder
    assert tempfile.gettempdir() == before  # the worker is a thread of this process


@pytest.fixture(scope="module")
def processes() -> Iterator[str]:
    """Of a cluster with two workers that can be killed."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as own:
        yield own.scheduler_address


def noted(task: tuple[str, int]) -> int:
    """Writes down that it was asked; the tenth kills its worker."""
    file, number = task
    with Path(file).open("a") as notes:
        notes.write(f"{number}\n")
    if number == 10:
        time.sleep(1)  # until what was found before is on its way
        os._exit(1)
    return number


def test_a_worker_that_dies_costs_what_it_had_not_answered(
    processes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The culprit has two tries, and of the rest nothing is done twice."""
    monkeypatch.setattr(cluster, "_MOST", 8)
    notes = tmp_path / "notes"
    tasks = [(str(notes), number) for number in range(40)]
    with cluster_at(processes, NOTHING_TO_COMPARE, pytest.fail) as pool:
        found = {task[1]: result for task, result in pool(noted, tasks)}
    assert found == {number: number if number != 10 else None for number in range(40)}
    asked = Counter(notes.read_text().split())
    assert asked.pop("10") == 2
    assert [number for number, times in asked.items() if times != 1] == []


def test_few_tasks_are_given_out_at_a_time(scheduler: str) -> None:
    drawn = 0

    def tasks() -> Iterator[int]:
        nonlocal drawn
        for number in range(10_000):
            drawn += 1
            yield number

    with cluster_at(scheduler, NOTHING_TO_COMPARE, pytest.fail) as pool:
        results = pool(doubled, tasks())
        next(results)
        assert drawn == 1
        for _ in range(3000):
            next(results)
        assert 3000 < drawn <= 3001 + cluster._WINDOW * cluster._MOST
        assert sum(1 for _ in results) == 10_000 - 3001


@pytest.mark.parametrize(
    "address",
    ["nonsense", "tcp://", "tcp://host:port", "127.0.0.1", "http://127.0.0.1:1", "", ":", "tcp://:1",
     "inproc://127.0.0.1/1/1", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:-1", "127.0.0.1:1"],
)  # fmt: skip
def test_addresses_that_are_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at .* tcp://host:8786"):
        answers(address)


class Scheduler:
    """One in a process of its own, which can be killed."""

    def __init__(self, port: int = 0) -> None:
        code = (
            "import asyncio\nfrom distributed import Scheduler\n"
            "async def main():\n"
            f"    async with Scheduler(port={port}, host='127.0.0.1', dashboard=False) as own:\n"
            "        print(own.address, flush=True)\n"
            "        await own.finished()\n"
            "asyncio.run(main())"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.workers: list[subprocess.Popen] = []

    def worker(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address]
        command += ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        self.workers.append(subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL))
        return self.workers[-1]

    def kill(self) -> None:
        for process in [self.process, *self.workers]:
            process.kill()
            process.wait()


@pytest.fixture
def own() -> Iterator[Scheduler]:
    scheduler = Scheduler()
    yield scheduler
    scheduler.kill()


def for_long(task: int) -> int:
    time.sleep(60)
    return task


def test_a_cluster_without_workers_says_that_it_waits(own: Scheduler) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        own.worker()

    with cluster_at(own.address, NOTHING_TO_COMPARE, say) as pool:
        assert sorted(pool(doubled, [1, 2])) == [(1, 2), (2, 4)]
    [text] = said
    assert text.startswith(f"no worker at {own.address}: the reactions wait for one")
    assert f"dask worker {own.address} --nthreads 1" in text


@pytest.mark.parametrize("what", ["kill", "stop"])
def test_a_scheduler_that_is_lost_ends_the_run_with_words(
    what: str, own: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, or on a machine that no longer answers."""
    import signal

    monkeypatch.setattr(cluster, "_PATIENCE", 3)
    monkeypatch.setattr(cluster, "_LOOK_EVERY", 0.5)
    own.worker()
    number = signal.SIGKILL if what == "kill" else signal.SIGSTOP
    with cluster_at(own.address, NOTHING_TO_COMPARE, lambda text: None) as pool:
        threading.Timer(4.0, own.process.send_signal, [number]).start()
        start = time.monotonic()
        with pytest.raises(WorkersLost, match=r"does not answer any more.*run the same command"):
            list(pool(for_long, [1]))
        assert time.monotonic() - start < 40


def test_what_listens_there_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match="no Dask scheduler answers"):
            answers(f"tcp://127.0.0.1:{port}")


def test_a_scheduler_that_is_still_starting() -> None:
    """As in a script that has just started it in the background."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found: list[Scheduler] = []
    timer = threading.Timer(1.0, lambda: found.append(Scheduler(port)))
    timer.start()
    with cluster_at(f"tcp://127.0.0.1:{port}", NOTHING_TO_COMPARE, pytest.fail):
        assert found
    found[0].kill()

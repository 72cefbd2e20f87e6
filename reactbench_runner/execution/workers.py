"""The processes that search: one thread each, on this machine or on a cluster.

They stay alive from one reaction to the next. One that dies costs the reaction that killed it, and
no other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from horm_calc.input_checks import OutsideTrainingDomain
from horm_calc.processes import in_processes
from reactbench_runner import calculators
from reactbench_runner.calculators import Source
from reactbench_runner.errors import WorkersLost
from reactbench_runner.execution.live import telling
from reactbench_runner.execution.scratch import scratch_folder
from reactbench_runner.execution.streams import in_streams, several
from reactbench_runner.execution.stuck import end_when_stuck, last_words
from reactbench_runner.storage.journal import Journals, SearchJournal
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Label, SearchResult, Start, Verdict, Verification
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.status import Tell
from workflows.tssearch import search
from workflows.verification import verify as verify_saddle

#: A reaction to search, or a finished search to verify.
Task = Start | SearchResult


@dataclass(frozen=True)
class RunSpec:
    """How a worker searches: the calculator, the settings, and what it verifies with, if at all.

    `search` is what does it, `search_one` where it is None. It goes to the workers by its name.
    `in_flight`: searches that a worker has under way at a time. `journals`: where their stages are
    kept as they end, if anywhere.
    """

    calculator: Source
    settings: SearchSettings
    verify: Source | None = None
    search: Callable[[Task, RunSpec], SearchResult] | None = None
    in_flight: int = 1
    journals: Journals | None = None

    @property
    def without_verification(self) -> RunSpec:
        """The same run, whose results are not verified."""
        return dataclasses.replace(self, verify=None)


#: What the reasons of failures begin with that say nothing about a reaction.
_DIED, _UNEXPECTED = "the worker process died twice", "unexpected"


#: What works on tasks: each with what it found, or with None when its worker died.
Pool = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[tuple[Any, Any]]]

#: Workers that die one after the other, with no result between, before a run gives up.
MOST_DEATHS = 100


def search_all(
    pool: Pool,
    tasks: Iterable[Task],
    spec: RunSpec,
    *,
    most_deaths: int = MOST_DEATHS,
    time_is_up: Callable[[], bool] = lambda: False,
    on_lost: Callable[[Task], None] = lambda task: None,
    on_begun: Callable[[Task], None] = lambda task: None,
) -> Generator[SearchResult, None, None]:
    """The results in the order in which they finish.

    When a worker dies, what it was doing is suspect. The suspects run again one by one at the
    end, so that only a reaction that kills its worker is blamed, and has all the memory. Raises
    `WorkersLost` where `most_deaths` workers die and nothing is found between.

    on_lost, on_begun: called with a suspect, and with the same as it runs again.
    """
    suspects: list[Task] = []
    deaths = 0
    for task, result in pool(partial(_work, spec), tasks):
        result = result or _given_up(pool, task, spec)
        if result is not None:
            deaths = 0
            yield result
            continue
        suspects.append(task)
        on_lost(task)
        deaths += 1
        if deaths >= most_deaths:
            raise WorkersLost(
                f"{deaths} workers have died one after the other, and none has found anything "
                f"since (killed, or out of memory; the last one at '{name_of(task)}'). Everything "
                "finished before is safe; mend that and run the same command to go on."
            )
    for suspect in suspects:
        if time_is_up():
            return
        on_begun(suspect)
        yield _search_alone(pool, suspect, spec)


def name_of(task: Task) -> str:
    """The id of its reaction."""
    return task.reaction.id if isinstance(task, SearchResult) else task.id


def _given_up(pool: Pool, task: Task, spec: RunSpec) -> SearchResult | None:
    """The result of a task whose worker ended itself, as a call never came back; else None."""
    reaction = task.reaction if isinstance(task, SearchResult) else task
    words = last_words(reaction.id)
    if words is None:
        return None
    stage, reason = words
    if stage is not Stage.VERIFICATION:
        return failed(reaction, stage, reason)
    found: SearchResult | None = task if isinstance(task, SearchResult) else None
    if found is None:  # what the search had found went with the worker
        [(_, found)] = pool(partial(_work, spec.without_verification), [task])
    return found and dataclasses.replace(found, verification=Verification(reason=reason))


def _search_alone(pool: Pool, task: Task, spec: RunSpec) -> SearchResult:
    """Once more; and if that kills the worker too, without the verification, if there is one."""
    reaction = task.reaction if isinstance(task, SearchResult) else task
    result: SearchResult | None
    [(_, result)] = pool(partial(_work, spec), [task])
    if result is None and spec.verify is not None:
        [(_, result)] = pool(partial(_work, spec.without_verification), [task])
        if result is not None:
            reason = f"{_DIED} while it verified (killed, or out of memory)"
            return dataclasses.replace(result, verification=Verification(reason=reason))
    return result or failed(
        reaction,
        Stage.WORKER,
        f"{_DIED} while it ran this reaction (killed, or out of memory); run again with fewer "
        "--workers",
    )


def _work(spec: RunSpec, task: Task) -> SearchResult:
    """What a worker does. Nothing but a result may leave it, whatever a library raises."""
    try:
        return (spec.search or search_one)(task, spec)
    except BaseException as error:
        if isinstance(task, SearchResult):
            return _with_verification(task, _broken_verification(error))
        return _broken(task, error)


def search_one(task: Task, spec: RunSpec) -> SearchResult:
    """Build the calculator, search, and verify with the trusted one."""
    with telling(name_of(task)) as on_status:
        return _search_one(task, spec, on_status)


def _search_one(task: Task, spec: RunSpec, on_status: Tell | None) -> SearchResult:
    result = task if isinstance(task, SearchResult) else _searched(task, spec, on_status)
    if spec.verify is None or result.saddle is None or not result.saddle.converged:
        return result
    reaction = result.reaction
    end_when_stuck(reaction.id)(Stage.VERIFICATION)
    try:
        built = calculators.build(
            spec.verify, reaction.charge, reaction.multiplicity, reaction.solvent
        )
        verification = verify_saddle(result, built, spec.settings, on_status=on_status)
    except (Exception, SystemExit) as error:  # it must not cost what the search has found
        verification = _broken_verification(error)
    return _with_verification(result, verification)


def _searched(reaction: Start, spec: RunSpec, on_status: Tell | None) -> SearchResult:
    try:
        check_reaction(reaction, spec.settings.verdict)
        if problem := calculators.refusal(spec.calculator, reaction):
            raise InputError(problem)
        build = partial(calculators.build, spec.calculator, solvent=reaction.solvent)
        built = build(reaction.charge, reaction.multiplicity)
        # Those of the structures that count are among the warnings of the result.
        with (
            warnings.catch_warnings(action="ignore", category=OutsideTrainingDomain),
            _journal(reaction, spec) as journal,
        ):
            return search(
                reaction,
                built,
                spec.settings,
                progress=end_when_stuck(reaction.id),
                on_status=on_status,
                build=build,
                journal=journal,
            )
    except InputError as error:
        return failed(reaction, Stage.INPUT, str(error))
    except (Exception, SystemExit) as error:  # a bug must cost one reaction, not the run
        return _broken(reaction, error)


@contextlib.contextmanager
def _journal(reaction: Start, spec: RunSpec) -> Iterator[SearchJournal | None]:
    """The journal of a search; complete at its end where a verification follows."""
    journal = spec.journals.open(reaction) if spec.journals else None
    try:
        yield journal
        if journal and spec.verify is not None:
            journal.flush()
    finally:
        if journal:
            journal.close()


def not_verified(reason: str) -> bool:
    """Whether a verification that failed for this reason should be tried again."""
    return reason.startswith((_DIED, _UNEXPECTED))


def failed(reaction: Start, stage: Stage, reason: str) -> SearchResult:
    """The result of a reaction that was not searched, or not to an end."""
    return SearchResult(reaction, Verdict(Label.FAILED, reason, stage=stage))


def _broken(reaction: Start, error: BaseException) -> SearchResult:
    """The result of a search that an error has ended; the log says where."""
    result = failed(reaction, Stage.WORKER, _unexpected(error))
    return dataclasses.replace(result, log="".join(traceback.format_exception(error)))


def _broken_verification(error: BaseException) -> Verification:
    """One that an error has ended; the log says where."""
    log = "".join(traceback.format_exception(error))
    return Verification(reason=_unexpected(error), log=log)


def _with_verification(result: SearchResult, found: Verification) -> SearchResult:
    log = f"{result.log}\n===== {Stage.VERIFICATION} =====\n{found.log.strip()}\n"
    return dataclasses.replace(result, verification=found, log=log)


def _unexpected(error: BaseException) -> str:
    """Name and message, also of errors that have none or fail to say it."""
    return f"{_UNEXPECTED} " + " ".join("".join(traceback.format_exception_only(error)).split())


@contextlib.contextmanager
def workers_of(
    workers: int, address: str | None, spec: RunSpec, say: Callable[[str], None]
) -> Iterator[Pool]:
    """A pool: of the cluster at `address`, or of processes on this machine.

    Raises as `cluster.cluster_at` does; so does the pool of a cluster. That of processes raises
    `WorkersLost` where the machine cannot start one.
    """
    if address is not None:
        from reactbench_runner.execution.cluster import Same, cluster_at

        same = Same.as_here([name for name in (spec.calculator, spec.verify) if name is not None])
        with cluster_at(address, same, say, spec.in_flight) as of_cluster:
            yield of_cluster
        return

    def pool(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        needed = min(workers, operator.length_hint(tasks, workers))
        try:
            if spec.in_flight == 1:
                yield from in_processes(work, iter(tasks), needed)
            else:
                stream = partial(several, work, spec.in_flight)
                yield from in_streams(stream, iter(tasks), needed, spec.in_flight)
        except OSError as error:
            raise WorkersLost(
                f"no process can be started to search: {error}. Everything finished before is "
                "safe; run the same command to go on, with fewer --workers."
            ) from error

    with scratch_folder():
        yield pool

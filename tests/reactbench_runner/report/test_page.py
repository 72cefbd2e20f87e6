"""The page in a browser: what a reader does with it, and what it must not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.browser import Page, browser, chromium
from benchmarks.report import copies
from reactbench_runner import load_run
from tests.reactbench_runner.report.stored_runs import EVIL, mixed, page_of, run_of
from tests.reactbench_runner.stored import searched

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(mixed(tmp_path_factory.mktemp("report") / "run"))


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium")
    with browser(program) as page:
        yield page


@pytest.fixture
def page(tab: Page, report: Path) -> Page:
    tab.resize(900, 700)
    tab.errors.clear()
    tab.open(report)
    tab.wait_for("document.documentElement.dataset.ready")
    return tab


def ids(page: Page) -> list[str]:
    return list(
        page.evaluate("[...document.querySelectorAll('#table .id a')].map(a => a.innerText)")
    )


def text(page: Page, selector: str) -> str:
    return str(page.evaluate(f"document.querySelector({selector!r}).innerText"))


def opened(page: Page, name: str) -> None:
    page.evaluate(f"location.hash = '#r=' + encodeURIComponent({name!r})")
    page.wait_for(f"by('title').textContent.startsWith({name!r}) && data && frames.length")


def test_sorts(page: Page) -> None:
    def barriers() -> list[str]:
        cells = (
            "[...document.querySelectorAll('td[data-name=\"ΔE‡\"]')].map(cell => cell.innerText)"
        )
        return list(page.evaluate(cells))

    head = "document.querySelector('th[data-key=barrier] button').click()"
    page.evaluate(head)
    up = barriers()
    assert up[-1] == ""  # what failed has none, and stays last
    assert [float(one) for one in up[:-1]] == sorted(float(one) for one in up[:-1])
    page.evaluate(head)
    assert barriers() == [*reversed(up[:-1]), ""]
    assert page.evaluate("document.querySelector('th[data-key=barrier]').ariaSort") == "descending"


def test_filters(page: Page) -> None:
    def typed(field: str, value: str) -> list[str]:
        page.evaluate(f"by('{field}').value = '{value}'; update()")
        return ids(page)

    assert len(ids(page)) == 5
    assert typed("words", "path FOUND") == ["failed"]
    assert len(typed("words", "")) == 5
    assert typed("least", "1e6") == []
    assert len(typed("least", "-1e6")) == 4
    page.evaluate("by('filters').reset()")
    page.wait_for("document.querySelectorAll('#table .id').length === 5")
    page.evaluate("document.querySelector('[data-verdict=failed]').click()")
    assert ids(page) == ["failed"]
    page.evaluate("document.querySelector('[data-verdict=\"\"]').click(); by('warned').click()")
    assert ids(page) == ["warned"]
    assert "1 of 5 reactions" in text(page, "#found")


def test_says_what_the_run_says(page: Page) -> None:
    assert "3 of 5 intended" in text(page, "#about")
    assert "2 of 7 reactions have not finished" in text(page, "#notes")
    assert "no <b>path</b> was found" in text(page, "#failures")
    assert "path: 1" in text(page, "#failures")
    assert "Helgaker" in text(page, "#references")
    assert "[1]" in text(page, "#paragraph")
    assert "tblite 0.8.0" in text(page, "#versions")


def test_opens_by_keyboard_and_closes(page: Page) -> None:
    page.evaluate("document.querySelector('#table a').focus()")
    page.press("Enter")
    page.wait_for("by('detail').open")
    page.press("Escape")
    page.wait_for("!by('detail').open")


def test_profile_and_structure_are_in_step(page: Page) -> None:
    """The profile, the slider, the film and the words tell of one frame."""
    opened(page, "plain")
    count = page.evaluate("frames.length")
    top = page.evaluate("film.top")
    assert count == 5
    assert page.evaluate("frame") == top
    assert "transition state" in text(page, "#place")
    page.evaluate("chart.over.scrollIntoView()")
    place = page.evaluate("(({left, top, width, height}) => [left, top, width, height])"
                          "(chart.over.getBoundingClientRect())")  # fmt: skip
    along = page.evaluate("chart.valToPos(film.x[0], 'x')")
    page.click(place[0] + along, place[1] + place[3] / 2)
    assert page.evaluate("[frame, Number(by('frame').value)]") == [0, 0]
    page.evaluate("by('play').click()")
    page.wait_for("frame === frames.length - 1 && !timer")
    assert text(page, "#place").startswith("5 of 5")
    # What is shown in space are the positions of that frame, Å.
    shown = page.evaluate(
        "viewer.getModel().selectedAtoms({}).map(({x, y, z}) => [x, y, z]).flat()"
    )
    assert shown == pytest.approx(page.evaluate("frames[frame]"))


def test_frames_are_those_of_the_file(page: Page, report: Path) -> None:
    """To a thousandth of an Å, up to where the molecule lies."""
    profile = load_run(report.parent)["plain"].profile()
    assert profile
    opened(page, "plain")
    for number, atoms in enumerate(profile.frames):
        shown = page.evaluate(f"frames[{number}]")
        expected = atoms.positions - profile.frames[0].positions.mean(0)
        assert shown == pytest.approx(expected.ravel().tolist(), abs=6e-4)


def test_the_imaginary_mode_plays(page: Page) -> None:
    opened(page, "plain")
    page.evaluate("choose('Imaginary mode')")
    page.wait_for("timer && frame > 3")
    assert "cm⁻¹" in text(page, "#place")
    moved = page.evaluate("Math.max(...frames[6].map((x, i) => Math.abs(x - frames[0][i])))")
    assert 0.1 < moved <= 0.3  # Å, a quarter of a period later
    page.evaluate("by('play').click()")
    assert not page.evaluate("timer")


def test_steps_have_a_profile_each_and_a_ladder(page: Page) -> None:
    opened(page, "steps")
    names = page.evaluate("[...by('films').children].map(button => button.textContent)")
    assert names[:2] == ["IRC of step 1", "IRC of step 2"]
    told = page.evaluate("document.querySelector('#ladder svg').getAttribute('aria-label')")
    assert [part.split(":")[0] for part in told.split("; ")] == ["R", "TS1", "I1", "TS2", "P"]


def test_what_failed_says_that_nothing_is_stored(page: Page) -> None:
    page.evaluate("location.hash = '#r=failed'")
    page.wait_for("by('profile').innerText.includes('No structures are stored')")
    assert page.evaluate("by('player').hidden")


def test_words_of_the_run_are_never_code(page: Page) -> None:
    assert EVIL in ids(page)
    opened(page, EVIL)
    assert EVIL in text(page, "#title")
    opened(page, "warned")
    assert "<i>exists</i>" in text(page, "#warnings")
    assert page.evaluate("document.title").startswith("run – ")
    assert page.evaluate("document.querySelectorAll('#warnings i, #failures b').length") == 0


def test_asks_for_nothing(page: Page) -> None:
    opened(page, "plain")
    page.evaluate("choose('Imaginary mode')")
    page.wait_for("frame > 1")
    outside = [one for one in page.requests if not one.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert sum(one.startswith("file:") for one in page.requests) == 1
    assert page.errors == []


@pytest.mark.parametrize("width", [390, 320])
def test_fits_a_small_screen(page: Page, width: int) -> None:
    page.resize(width, 800)
    page.wait_for(f"innerWidth === {width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    opened(page, "plain")
    assert page.evaluate("by('detail').scrollWidth") <= width
    assert (
        page.evaluate("document.querySelector('#profile canvas').getBoundingClientRect().right")
        <= width
    )


def test_many_reactions(tmp_path: Path, tab: Page) -> None:
    """`python -m benchmarks.report` measures a thousand."""
    page = page_of(copies(run_of(tmp_path / "one", searched()), tmp_path / "many", 120))
    tab.resize(900, 700)
    tab.open(page)
    tab.wait_for("document.documentElement.dataset.ready")
    assert "120 reactions" in text(tab, "#found")
    assert len(ids(tab)) == 50
    tab.evaluate("by('more').click()")
    assert len(ids(tab)) == 100

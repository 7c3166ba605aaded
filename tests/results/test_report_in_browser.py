"""The report in a real browser: no error, no request, nothing cut off, and what its script does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from results.pages.page import Report
from results.pages.run_facts import page_facts
from search.config import compose
from search.runs.folder import write_run_file
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.results_fixtures import write_run

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.search,  # as slow to start as a search
]

COLUMN = "Array.from(document.querySelectorAll('#board tbody tr[data-key]'), row => row.cells[{}].dataset.value)"
HEADINGS = "Array.from(document.querySelectorAll('#board thead th'))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with six trials."""
    folder = tmp_path_factory.mktemp("runs")
    keys = {"dataset": "cifar10", "max_epochs": 4, "grace_epochs": 2, "reduction_factor": 2}
    write_run_file(folder / "alpha", compose(None, None, keys, []), val_images=5000)
    write_run(folder / "alpha")
    path = folder / "report.html"
    path.write_text(Report.of(page_facts(folder, ["alpha"])).html())
    return path


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_without_error_request_or_sideways_scrolling(tab: Browser, page: Path, width: int, dark: bool) -> None:
    tab.show(page, width, dark=dark)
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value("document.querySelectorAll('svg.plot').length") > 8
    marks = "it.querySelector('circle, rect, path:not(.grid)')"
    plots = "Array.from(document.querySelectorAll('svg.plot'))"
    assert tab.value(f"{plots}.every(it => {marks} !== null)")
    lightness = tab.value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(lightness) < 64) is dark
    assert tab.requests() == [page.resolve().as_uri()]
    assert tab.complaints() == []


def test_headings_sort_and_empty_cells_stay_last(tab: Browser, page: Path) -> None:
    tab.show(page, 1280)
    titles = tab.value(f"{HEADINGS}.map(it => it.textContent)")
    place = titles.index("val accuracy")
    press = f"{HEADINGS}[{place}].querySelector('button').click()"
    tab.value(press)
    assert tab.value(f"{HEADINGS}[{place}].getAttribute('aria-sort')") == "descending"
    assert tab.value(COLUMN.format(place)) == ["0.9", "0.8", "0.7", "", "", ""]
    tab.value(press)
    assert tab.value(COLUMN.format(place)) == ["0.7", "0.8", "0.9", "", "", ""]


def test_the_search_finds_rows_by_all_their_words(tab: Browser, page: Path) -> None:
    tab.show(page, 1280)
    tab.value("search.value = 'completed 2-2'; search.dispatchEvent(new Event('input'))")
    shown = "Array.from(document.querySelectorAll('#board tbody tr:not([hidden])'), row => row.dataset.key)"
    assert tab.value(shown) == ["alpha/2"]
    assert tab.value("found.textContent") == "1 of 6 trials"


def test_a_row_opens_by_keyboard_and_escape_closes_it(tab: Browser, page: Path) -> None:
    tab.show(page, 1280)
    tab.value("document.querySelector('#board .open').focus()")
    tab.press("Enter")
    assert "completed after 4 epochs" in tab.value("document.querySelector('#board .more').textContent")
    assert tab.value("document.querySelector('#board .more polyline').getAttribute('points').split(' ').length") == 4
    tab.press("Escape")
    assert tab.value("document.querySelector('#board .more')") is None


def test_a_mark_leads_to_its_row(tab: Browser, page: Path) -> None:
    tab.show(page, 1280)
    tab.value(
        "document.querySelector('svg.plot [data-trial=\"alpha/1\"]').dispatchEvent(new Event('click', {bubbles: true}))"
    )
    assert tab.value("document.querySelector('#board tr.target').dataset.key") == "alpha/1"


def test_the_numbers_of_a_plot_are_a_table_when_asked_for(tab: Browser, page: Path) -> None:
    tab.show(page, 1280)
    details = "document.querySelector('details.data[data-plot=\"rungs\"]')"
    opening = f"{details}.addEventListener('toggle', () => setTimeout(done, 0)); {details}.open = true"
    tab.value(f"new Promise(done => {{ {opening}; }})")
    cells = tab.value(f"Array.from({details}.querySelectorAll('tbody tr'), row => row.cells[1].textContent)")
    assert cells == ["5", "4", "2"]


def test_the_switches_show_one_plot_at_a_time(tab: Browser, page: Path) -> None:
    tab.show(page, 1280)
    seen = "Array.from(document.querySelectorAll('.panel'), it => it.offsetHeight > 0)"
    assert tab.value(seen) == [True, False, False, False]
    tab.value("document.querySelector('.switch3').click()")
    assert tab.value(seen) == [False, False, True, False]

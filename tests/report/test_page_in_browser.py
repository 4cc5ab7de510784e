"""The page in a real browser, where there is one."""

import base64
import re

import pytest
from browser import CONTRASTS, SCROLLING, Browser, find_browser
from page_facts import (
    FIGURES,
    LONG,
    make_facts,
)

from unlearn.report import page


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip("no browser of the Chromium family is installed")
    try:
        browser = Browser(program, tmp_path_factory.mktemp("profile"))
    except (OSError, TimeoutError) as error:
        pytest.skip(f"{program} does not start: {error}")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.render(make_facts(), FIGURES))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_page_in_a_browser(browser, report, width, scheme):
    browser.open(report, width, scheme)
    assert browser.value("document.title") == f"Unlearning 129 digits {LONG}"
    page_width, window = browser.value(
        "[document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert page_width <= window == width
    shade = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade))) > 600) == (scheme == "light")
    contrasts = browser.value(CONTRASTS)
    assert len(contrasts) > 300
    assert contrasts[0][0] >= 4.5, contrasts[:5]
    assert browser.value("[...document.images].every(x => x.naturalWidth > 0)")
    requests = [
        one["params"]["request"]["url"]
        for one in browser.events
        if one.get("method") == "Network.requestWillBeSent"
    ]
    assert [one for one in requests if not one.startswith("data:")] == [report.as_uri()]
    if width == 390:  # wide tables scroll in their boxes, the models' names stay
        assert browser.value(SCROLLING) >= 2
        left = """(() => {
            const table = document.querySelector(".evidence");
            table.parentElement.scrollLeft = 200;
            const cells = [...table.querySelectorAll("th:first-child")];
            return cells.map(x => x.getBoundingClientRect().left);
        })()"""
        assert set(browser.value(left)) == {16}


def test_a_hash_is_shortened_but_selected_whole(browser, report):
    browser.open(report, 1200, "light")
    width, chosen = browser.value("""(() => {
        const hash = document.querySelectorAll(".short .hash")[4];
        getSelection().selectAllChildren(hash);
        return [hash.offsetWidth, getSelection().toString()];
    })()""")
    assert width < 150 and chosen == "11" * 32


def test_page_on_paper(browser, report):
    browser.open(report, 690, "dark", media="print")  # A4 within its margins
    shade = browser.value("getComputedStyle(document.body).backgroundColor")
    assert shade == "rgb(255, 255, 255)"
    assert browser.value("document.documentElement.scrollWidth") <= 690
    assert browser.value(SCROLLING) == 0
    assert min(browser.value(CONTRASTS))[0] >= 4.5
    link = "getComputedStyle(document.querySelector('td a'), '::after').content"
    assert "https://arxiv.org/abs/2406.09073" in browser.value(
        f"{link}.replace('attr(href)', document.querySelector('td a').href)"
    )
    boxes = "[...document.querySelectorAll('.scroll, .plot, .short .hash')]"
    overflow = browser.value(f"{boxes}.map(x => getComputedStyle(x).overflow)")
    assert len(overflow) == 15 and set(overflow) == {"visible"}
    data = browser("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    assert base64.b64decode(data).startswith(b"%PDF")

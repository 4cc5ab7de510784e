"""The page in a real browser, where there is one."""

import base64
import re

import pytest
from browser import CONTRASTS, SCROLLING, Browser, find_browser
from page_facts import (
    FIGURES,
    LONG,
    make_facts,
    one_class,
    one_example,
    released,
    stretched,
    unknown,
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


FACTS = {
    "stretched": stretched(make_facts()),
    "four methods": make_facts(),
    "32 methods": released(make_facts(32)),
    "a class": one_class(make_facts(32)),
    "one example": one_example(make_facts(32)),
    "nothing attacked": unknown(one_example(make_facts(32))),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name, facts in FACTS.items():
        (folder / f"{name}.html").write_text(page.render(facts, FIGURES))
    return {name: folder / f"{name}.html" for name in FACTS}


@pytest.fixture(scope="module")
def report(reports):
    return reports["stretched"]


UNFOLD = "[...document.querySelectorAll('details')].map(x => x.open = true)"
BOX = "document.querySelector('{}').getBoundingClientRect()"
SCROLLS = """[...document.querySelectorAll("*")].filter(x => x.offsetWidth > 1
  && x.scrollWidth > x.clientWidth + 1 && getComputedStyle(x).overflowX != "visible"
  && !x.matches(".hash, .scroll, .plot")).map(x => x.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("width", [1280, 768, 390])
def test_nothing_scrolls_sideways(browser, reports, name, width):
    browser.open(reports[name], width, "light")
    assert browser.value("document.documentElement.scrollWidth") <= width
    browser.value(UNFOLD)
    assert browser.value("document.documentElement.scrollWidth") <= width
    if name != "stretched":
        assert browser.value(SCROLLS) == []


@pytest.mark.parametrize("name", [name for name in FACTS if name != "stretched"])
def test_verdict_figure_and_table_are_above_the_fold(browser, reports, name):
    browser.open(reports[name], 1280, "light")
    parts = [".conclusion", ".models"]
    parts += [".overview img"] if name != "nothing attacked" else []
    for part in parts:
        box = BOX.format(part)
        assert browser.value(f"{box}.top") >= 0
        assert browser.value(f"{box}.bottom") <= 800
        assert browser.value(f"{box}.right") <= 1264


def test_a_name_opens_its_numbers_in_words(browser, reports):
    browser.open(reports["four methods"], 1280, "light")
    link, box = "document.querySelector('.models a')", "#model-1"
    shut = f"document.querySelector('{box}').parentElement.open"
    assert browser.value(f"{link}.getAttribute('href')") == box
    assert not browser.value(shut)
    browser.value(f"({link}.click(), true)")
    assert browser.value(shut)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(browser, report, width, scheme):
    browser.open(report, width, scheme)
    assert browser.value("document.title") == f"Unlearning audit: digits_audit {LONG}"
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
    browser.value(UNFOLD)
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
        document.querySelector("#checkpoints").parentElement.open = true;
        const hash = document.querySelectorAll(".short .hash")[4];
        getSelection().selectAllChildren(hash);
        return [hash.offsetWidth, getSelection().toString()];
    })()""")
    assert width < 150 and chosen == "11" * 32


@pytest.mark.slow
def test_page_on_paper(browser, report):
    browser.open(report, 690, "dark", media="print")  # A4 within its margins
    shade = browser.value("getComputedStyle(document.body).backgroundColor")
    assert shade == "rgb(255, 255, 255)"
    assert browser.value("document.documentElement.scrollWidth") <= 690
    assert browser.value(SCROLLING) == 0
    assert min(browser.value(CONTRASTS))[0] >= 4.5
    link = "document.querySelector('a[href^=http]')"
    after = f"getComputedStyle({link}, '::after').content"
    assert "https://arxiv.org/abs/2406.09073" in browser.value(
        f"{after}.replace('attr(href)', {link}.href)"
    )
    folded = "[...document.querySelectorAll('details')]"
    heights = browser.value(f"{folded}.map(x => x.offsetHeight)")
    assert len(heights) > 10 and min(heights) > 40  # all are printed unfolded
    boxes = "[...document.querySelectorAll('.scroll, .plot, .short .hash')]"
    overflow = browser.value(f"{boxes}.map(x => getComputedStyle(x).overflow)")
    assert len(overflow) == 22 and set(overflow) == {"visible"}
    data = browser("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    assert base64.b64decode(data).startswith(b"%PDF")

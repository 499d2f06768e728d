"""The page in a browser: nothing fails, nothing leaves the file, and people can use it.

They need `pip install playwright axe-core-python` and a Chromium on the path, and skip, saying so, without.
"""

import shutil
from pathlib import Path

import pytest

AXE = "axe.run({exclude: [['svg *']]}, {resultTypes: ['violations']})"
WIDTHS, SCHEMES = (390, 1440), ("light", "dark")


@pytest.fixture(scope="module")
def chromium():
    """A headless browser."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, hostile_page, tmp_path):
    """Open the page of the record whose names are HTML, all folds open; afterwards nothing failed, and nothing but it
    was asked for."""
    file, said, asked, contexts = tmp_path / "report.html", [], [], []

    def open_page(width=1440, scheme="light", text=hostile_page, folded=False, **settings):
        file.write_text(text if folded else text.replace("<details>", "<details open>"))
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        return tab

    yield open_page
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {file.as_uri()}
    for context in contexts:
        context.close()


def texts(tab, selector):
    return tab.eval_on_selector_all(selector, "found => found.map(e => e.firstChild.textContent.trim())")


def lines(tab, table, column):
    return texts(tab, f"#{table}-table tbody tr:not([hidden]):not(.heading) > :nth-child({column})")


@pytest.mark.parametrize("page", ["hostile_page", "board_page"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(opened, request, page, width, scheme):
    tab = opened(width, scheme, request.getfixturevalue(page))
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    beyond = tab.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((e) => !e.closest(".skip, svg, .cards thead"))
            .filter((e) => !e.closest(".sheet") || getComputedStyle(e.closest(".sheet")).overflowX === "visible")
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert beyond == []
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("page", ["small_page", "board_page"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(opened, request, page, width, scheme):
    axe = pytest.importorskip("axe_core_python", reason="axe is not installed: pip install axe-core-python")
    tab = opened(width, scheme, request.getfixturevalue(page))
    tab.evaluate(Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate(AXE)["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_a_click_or_a_key_sorts(opened):
    tab = opened()
    before = lines(tab, "lines", 5)
    head = tab.locator("#lines-table thead th").nth(4)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert lines(tab, "lines", 5) == sorted(before, key=float, reverse=True)
    head.locator("button").focus()
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert lines(tab, "lines", 5) == sorted(before, key=float)
    tab.locator("#lines-table thead button", has_text="eps").click()
    assert lines(tab, "lines", 2) == ["4/255"] * 9 + ["8/255"] * 9
    assert tab.locator("#lines-table [aria-sort]").count() == 1


def test_choices_and_words_filter(opened):
    tab = opened()
    form = tab.locator("xpath=//table[@id='lines-table']/ancestor::div[1]/preceding-sibling::form[1]")
    form.get_by_label("eps").select_option("8/255")
    assert set(lines(tab, "lines", 2)) == {"8/255"}
    form.get_by_label("Find").fill("plain")
    assert set(lines(tab, "lines", 1)) == {"plain"}
    assert form.locator("output").inner_text() == "3 of 18 lines"
    form.get_by_label("Find").fill("no such line")
    assert lines(tab, "lines", 1) == []


def test_a_board_sorts_and_filters_and_ranks_stay_apart(opened, board_page):
    tab = opened(text=board_page)
    before = lines(tab, "board-0", 1)
    head = tab.locator("#board-0-table thead th").nth(3)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert sorted(lines(tab, "board-0", 1)) == sorted(before)
    assert lines(tab, "board-0", 1)[-1] == "weak"
    form = tab.locator("xpath=//table[@id='board-0-table']/ancestor::div[1]/preceding-sibling::form[1]")
    form.get_by_label("trust").select_option("not ranked")
    assert lines(tab, "board-0", 1) == ["weak"]
    assert texts(tab, "#board-0-table tr.heading:not([hidden]) .name") == ["Not ranked"]


def test_headings_without_lines_are_gone(opened):
    tab = opened()
    tab.locator("xpath=//table[@id='checks-table']/ancestor::div[1]/preceding-sibling::form[1]").get_by_label(
        "verdict"
    ).select_option("FAILED")
    assert texts(tab, "#checks-table tr.heading:not([hidden]) .name") == ["black-box"]


def test_names_with_html_are_shown_as_text(opened):
    tab = opened()
    assert tab.title() != "run"
    assert "<script>document.title='run'</script>" in lines(tab, "verdict", 1)
    assert tab.locator("main img, main b, main i").count() == 0


def test_without_javascript_everything_is_there(opened):
    tab = opened(java_script_enabled=False)
    rows = tab.locator("#verdict-table tbody tr")
    assert rows.count() == 6
    assert all(row.is_visible() for row in rows.all())
    assert tab.locator("form, thead button").count() == 0


def test_what_is_folded_is_printed(opened):
    tab = opened(java_script_enabled=False, folded=True)
    fold = tab.locator("details:not([open]) .inside").first
    assert not fold.is_visible()
    tab.emulate_media(media="print")
    assert fold.bounding_box()["height"] > 50


def test_tables_fit_on_paper(opened, small_page):
    tab = opened(width=703, text=small_page)  # A4 less its margins
    tab.emulate_media(media="print")
    assert max(tab.eval_on_selector_all("table", "all => all.map(t => t.getBoundingClientRect().right)")) <= 703


def test_focus_is_seen(opened):
    tab = opened()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Tab")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

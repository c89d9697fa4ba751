"""The pages in a real browser: solved, readable in the dark and on a phone, by keyboard alone, and
nothing leaves this machine.
"""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.load import open_run
from eval.page import write
from eval.serve.answers import Answers
from eval.show import puzzle as puzzles
from eval.show.page import document
from eval.show.trace import trace
from tests.browser import PHONE, WIDE, browser, readable
from tests.test_serve import serving

pytestmark = pytest.mark.hostile
ROOT = Path(__file__).parents[1]
PUZZLE = "1...4.6....14..623.......1.4..534.6."
MAZE = [" ###  ", "    S#", " # #  ", "# ##  ", "#     ", "G #   "]
LOOKS = [(WIDE, False), (PHONE, True)]


def until(true, seconds: float = 60) -> None:
    """Waits; these machines are shared."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def colours_of(driver) -> int:
    """In a screenshot: a blank one has one."""
    image = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    return len(np.unique(np.array(image).reshape(-1, 3), axis=0))


def text_of(driver, selector: str) -> str:
    return driver.execute_script(
        "return document.querySelector(arguments[0]).textContent", selector
    )


def look(size: tuple[int, int], dark: bool) -> str:
    """For the name of a file."""
    return f"{'phone' if size == PHONE else 'wide'}-{'dark' if dark else 'light'}"


def press(driver, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def go_back(driver, times: int = 1) -> None:
    """Shift and Tab."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    for _ in range(times):
        chain = ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB)
        chain.key_up(Keys.SHIFT).perform()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A trace of each kind of puzzle, as a file."""
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for name, puzzle in (("sudoku6", PUZZLE), ("maze6", MAZE)):
        trained = open_run(ROOT / "pretrained" / name)
        shown = puzzles.typed(trained, trained.rules.tokens(puzzle))
        seen = trace(trained, trained.solver(12), shown.rules, shown.rows)
        found[name] = folder / f"{name}.html"
        write(found[name], document(seen))
    return found


@pytest.mark.parametrize(("size", "dark"), LOOKS)
@pytest.mark.parametrize("name", ["sudoku6", "maze6"])
def test_a_trace_can_be_read(name, size, dark, pages, tmp_path):
    with browser(tmp_path, size, dark) as driver:
        driver.get(pages[name].as_uri())
        driver.execute_script("document.querySelector('.controls button').click()")
        readable(driver, f"show-{name}-{look(size, dark)}")
        assert colours_of(driver) > 20


def test_a_trace_is_stepped_through_by_keyboard(pages, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with browser(tmp_path) as driver:
        driver.get(pages["sudoku6"].as_uri())
        assert "segment 12, recursion 4 (deeper than trained)" in text_of(driver, ".told")
        press(driver, Keys.HOME)
        assert text_of(driver, ".told").startswith("segment 1, recursion 2")
        press(driver, Keys.ARROW_RIGHT)
        assert text_of(driver, ".told").startswith("segment 1, recursion 4")
        press(driver, Keys.PAGE_UP)
        assert text_of(driver, ".told").startswith("segment 2, recursion 4")
        go_back(driver, 4)
        press(driver, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
        assert text_of(driver, ".cell").startswith("row 2, column 2: ")
        press(driver, Keys.TAB, Keys.TAB, Keys.SPACE)
        until(lambda: "segment 12" in text_of(driver, ".told"))


@pytest.fixture(scope="module", params=["sudoku6", "maze6"])
def server(request):
    with serving(Answers(open_run(ROOT / "pretrained" / request.param))) as client:
        yield request.param, f"http://127.0.0.1:{client.port}/"


def solved(driver) -> bool:
    """The viewer is there."""
    return bool(driver.find_elements("css selector", "#solved .told"))


@pytest.mark.parametrize(("size", "dark"), LOOKS)
def test_a_new_puzzle_is_solved_and_can_be_read(server, size, dark, tmp_path):
    name, address = server
    with browser(tmp_path, size, dark) as driver:
        driver.get(address)
        until(lambda: has_givens(driver))
        driver.find_element("id", "solve").click()
        until(lambda: solved(driver))
        readable(driver, f"serve-{name}-{look(size, dark)}")
        assert colours_of(driver) > 20


def test_a_puzzle_is_typed_and_solved_by_keyboard_alone(server, tmp_path):
    from selenium.webdriver.common.keys import Keys

    name, address = server
    with browser(tmp_path) as driver:
        driver.get(address)
        until(lambda: has_givens(driver))
        while driver.switch_to.active_element.text != "Clear":
            press(driver, Keys.TAB)
        press(driver, Keys.ENTER)
        while driver.switch_to.active_element.get_attribute("class") != "grid":
            go_back(driver)
        rows = MAZE if name == "maze6" else [PUZZLE[i : i + 6] for i in range(0, 36, 6)]
        for row in rows:
            for i, cell in enumerate(row):
                press(driver, *([Keys.ARROW_RIGHT] if i else []))
                if cell not in ". ":
                    press(driver, cell.lower())
            press(driver, *[Keys.ARROW_LEFT] * 5, Keys.ARROW_DOWN)
        press(driver, Keys.ENTER)
        until(lambda: solved(driver))
        until(lambda: ", valid, " in text_of(driver, ".told"))


def has_givens(driver) -> bool:
    """A new puzzle has come into the editor."""
    return bool(driver.find_elements("css selector", "#editor .given, #editor .wall"))


def test_deeper_than_trained(server, tmp_path):
    from selenium.webdriver.common.keys import Keys

    _, address = server
    with browser(tmp_path) as driver:
        driver.get(address)
        until(lambda: has_givens(driver))
        driver.find_element("id", "solve").click()
        until(lambda: solved(driver))
        depth = driver.find_element("id", "depth")
        depth.send_keys(*[Keys.ARROW_RIGHT] * 12)
        assert text_of(driver, "#depth-told") == "20 (deeper than trained)"
        until(lambda: "segment 20, recursion 4 (deeper than trained)" in text_of(driver, ".told"))


def test_what_is_changed_meanwhile_is_not_lost(server, tmp_path):
    """An answer that comes late, or a slider that is moved, puts no older puzzle back."""
    from selenium.webdriver.common.keys import Keys

    name, address = server
    with browser(tmp_path) as driver:
        driver.get(address)
        until(lambda: has_givens(driver))
        driver.find_element("id", "solve").click()
        until(lambda: solved(driver))
        driver.find_element("id", "clear").click()
        editor = driver.find_element("css selector", "#editor .grid")
        editor.send_keys("#" if name == "maze6" else "5")
        driver.find_element("id", "depth").send_keys(Keys.ARROW_RIGHT)
        driver.find_element("id", "paste").send_keys("mine")
        time.sleep(1)
        kind = ".wall" if name == "maze6" else ".given"
        assert len(driver.find_elements("css selector", f"#editor {kind}")) == 1
        assert driver.find_element("id", "paste").get_attribute("value") == "mine"
        editor.send_keys(Keys.ARROW_DOWN, "#" if name == "maze6" else "6")
        assert not driver.find_element("id", "paste").get_attribute("value")


def test_what_is_pasted_is_solved_or_refused_in_words(server, tmp_path):
    name, address = server
    with browser(tmp_path) as driver:
        driver.get(address)
        paste = driver.find_element("id", "paste")
        paste.send_keys("<img src=x onerror=alert(1)>")
        driver.find_element("id", "solve").click()
        until(lambda: text_of(driver, "#problem"))
        assert not solved(driver)
        paste.clear()
        paste.send_keys("\n".join(MAZE) if name == "maze6" else PUZZLE)
        driver.find_element("id", "solve").click()
        until(lambda: solved(driver))
        assert not text_of(driver, "#problem")


REPORTS = sorted((ROOT / "results").rglob("*.html"))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_reports_can_be_read(path, tmp_path):
    for size, dark in LOOKS:
        with browser(tmp_path / look(size, dark), size, dark) as driver:
            driver.get(path.as_uri())
            readable(driver, f"{path.parent.name}-{path.stem}-{look(size, dark)}")
            assert colours_of(driver) > 20

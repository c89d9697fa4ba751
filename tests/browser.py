"""Headless Chromium for tests: a page, what it asks the network for, and whether its text can be
read.

Debian has it in the packages chromium and chromium-driver; where they are missing, tests skip.
SCREENSHOTS=DIR keeps what it shows.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
FLAGS += ("disable-background-networking", "disable-component-update", "disable-dev-shm-usage")
LEAST = 4.5  # contrast of text to its ground, WCAG 2 AA
WIDE, PHONE = (1000, 900), (390, 844)
MINE = ("http://127.0.0.1:", "file://", "data:", "blob:", "about:", "chrome")

# the least contrast of any text that is seen, as WCAG 2 counts it: [ratio, text]
CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (text) => {
  const found = text.match(/[\\d.]+/g).map(Number);
  return text === "none" ? [0, 0, 0, 0] : [...found.slice(0, 3), found[3] ?? 1];
};
const over = ([r, g, b, a], ground) =>
  [r, g, b].map((v, i) => a * v + (1 - a) * ground[i]);
function ground(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    layers.push(parse(getComputedStyle(at).backgroundColor));
  }
  return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
}
// of a letter in a drawing: what lies under its middle
function drawn(text) {
  const box = text.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
  let colour = ground(text.closest("svg"));
  for (const shape of text.closest("svg").querySelectorAll("rect, circle")) {
    if (text.compareDocumentPosition(shape) & Node.DOCUMENT_POSITION_FOLLOWING) continue;
    const at = shape.getBoundingClientRect(), style = getComputedStyle(shape);
    if (x < at.left || x > at.right || y < at.top || y > at.bottom) continue;
    if (style.fill === "none") continue;
    const [r, g, b, a] = parse(style.fill);
    colour = over([r, g, b, a * Number(style.opacity)], colour);
  }
  return colour;
}
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
  if (!text || element.closest("script, style") || !element.getClientRects().length) continue;
  const style = getComputedStyle(element), inside = element instanceof SVGElement;
  const under = inside ? drawn(element) : ground(element);
  const ink = over(parse(inside ? style.fill : style.color), under);
  const [high, low] = [light(ink), light(under)].sort((a, b) => b - a);
  found.push([(high + 0.05) / (low + 0.05), text.slice(0, 60)]);
}
found.sort((a, b) => a[0] - b[0]);
return found.slice(0, 3);
"""


def needs_chromium() -> None:
    """Skips, and says why; not where it was installed for the tests."""
    if not CHROMIUM or not DRIVER:
        assert not os.environ.get("CHROMIUM_IS_HERE"), "chromium without its driver"
        pytest.skip("no chromium and chromium-driver here (Debian's packages)")


@contextmanager
def browser(profile: Path, size: tuple[int, int] = WIDE, dark: bool = False) -> Iterator:
    """A new one, with a profile of its own."""
    needs_chromium()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    wide, high = size
    metrics = {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": wide < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    try:
        yield driver
    finally:
        driver.quit()


def keep(driver, name: str) -> None:
    """What is seen, as a file, where screenshots are wanted."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


def readable(driver, name: str) -> None:
    """Asserts that a page fits its window, that its text has a contrast of 4.5 to 1, that nothing
    is wrong in its console, and that nothing beyond this machine was asked.
    """
    keep(driver, name)
    assert fits(driver)
    ratio, text = least_contrast(driver)[0]
    assert ratio >= LEAST, text
    assert not complaints(driver)
    assert not asked_of_others(driver)


def asked_of_others(driver) -> list[str]:
    """The addresses beyond this machine that anything on its pages asked for."""
    found = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return [url for url in found if not url.startswith(MINE)]


def complaints(driver) -> list[str]:
    """What the console of the page says."""
    return [entry["message"] for entry in driver.get_log("browser")]


def least_contrast(driver) -> list[list]:
    """The three texts that are hardest to read: [ratio, text] each."""
    return driver.execute_script(CONTRAST)


def fits(driver) -> bool:
    """Nothing has to be scrolled sideways."""
    widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
    content, window = driver.execute_script(widths)
    return content <= window

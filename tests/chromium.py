"""A headless Chromium for tests of pages."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


class Page:
    """A page in a browser, and what its console said."""

    def __init__(self, driver, path: Path) -> None:
        self.driver = driver
        self.address = path.resolve().as_uri()
        driver.get("about:blank")
        driver.get_log("browser")
        driver.get(self.address)

    def js(self, script: str, *values):
        """What a script gives."""
        return self.driver.execute_script(script, *values)

    def go(self, place: str, view: str) -> None:
        """Show a view of a board."""
        self.js("location.hash = `#/${arguments[0]}/${arguments[1]}`", place, view)
        self.until("return state.place === arguments[0] && state.tab === arguments[1]", place, view)

    def until(self, script: str, *values):
        """Wait for a script to give something."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, 20, 0.05).until(lambda driver: driver.execute_script(script, *values))

    def click(self, selector: str, text: str = "") -> None:
        """Click on what is shown of that kind, with that text where one is given."""
        found = self.until(
            "return [...document.querySelectorAll(arguments[0])].find("
            "e => e.checkVisibility() && e.textContent.includes(arguments[1]))",
            selector,
            text,
        )
        self.js("arguments[0].scrollIntoView({block: 'center'})", found)
        found.click()

    @property
    def errors(self) -> list[str]:
        """What the console complained of."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def start(width: int = 1280, height: int = 900):
    """A browser without a window, or a skipped test and why."""
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("needs the package selenium")
    if not (BROWSER and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(DRIVER))

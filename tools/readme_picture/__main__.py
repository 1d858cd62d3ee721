"""Draw the report of the committed runs, take its picture, and keep the words of it."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tools.readme_picture.screen import PICTURE, WORDS, list_words, render_report

WIDTH: Final = 1280
"""Columns of the picture, pixels."""


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m tools.readme_picture", description=__doc__).parse_args(
        arguments
    )
    page = render_report()
    try:
        picture = take_picture(page)
    except RuntimeError as error:
        print(f"tools.readme_picture: {error}", file=sys.stderr)
        return 2
    PICTURE.write_bytes(shrink(picture))
    WORDS.write_text("\n".join(list_words(page)) + "\n", encoding="utf-8")
    print(f"wrote {PICTURE} ({PICTURE.stat().st_size} bytes) and {WORDS}; look at the picture")
    return 0


def take_picture(page: str) -> bytes:
    """Return the first screen of a page as PNG, down to the end of its verdict.

    Raises:
        RuntimeError: There is no browser.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise RuntimeError("there is no browser; do: apt-get install chromium chromium-driver")
    from selenium import webdriver

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "report.html"
        path.write_text(page, encoding="utf-8")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            f"--window-size={WIDTH},2000",
            f"--user-data-dir={name}/profile",
        ):
            options.add_argument(argument)
        browser = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(executable_path=driver)
        )
        try:
            browser.get(path.as_uri())
            return _cut(browser)
        finally:
            browser.quit()


def _cut(browser: Any) -> bytes:
    """Return what a browser shows, down to a margin below the last card of the verdict."""
    end = browser.execute_script(
        "return Math.max(...Array.from(document.querySelectorAll('.verdict .card'),"
        " card => card.getBoundingClientRect().bottom))"
    )
    whole = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    cut = io.BytesIO()
    whole.crop((0, 0, WIDTH, min(whole.height, int(end) + 24))).save(cut, "PNG")
    return cut.getvalue()


def shrink(png: bytes) -> bytes:
    """Return a PNG of 256 colours, a third of the bytes."""
    small = io.BytesIO()
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    whole.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


if __name__ == "__main__":
    sys.exit(main())

"""Pages as readers meet them: the browser that tests look through, and how well its texts can be read."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

# WCAG 2.1's contrast of each text with what is behind it; a half-transparent background is laid over what is below.
CONTRASTS = """() => {
  const channels = (colour) => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    return numbers.length === 3 ? [...numbers, 1] : numbers;
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => c / 255).map((c) =>
      c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(channels(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.disabled) continue;  // WCAG asks nothing of what cannot be used
    const ground = behind(element);
    const [a, b] = [luminance(over(channels(getComputedStyle(element).color), ground)), luminance(ground)];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.tagName + "." + element.className]);
  }
  return found;
}"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium on the PATH, without a window; where there is none the test is skipped, and fails under CI."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no chromium on the PATH (apt-get install chromium): nobody has looked at the page"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    expect.set_options(timeout=30_000)  # a busy machine is no fault of the page
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()

"""A real browser, where there is one."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path


def find_browser():
    """A program of the Chromium family, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    for name in (*names, "chrome"):
        if path := shutil.which(name):
            return path
    with contextlib.suppress(Exception):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            return shutil.which(playwright.chromium.executable_path)
    return None


class Browser:
    """A headless browser, driven by the Chrome DevTools Protocol over pipes."""

    def __init__(self, program, profile):
        shell = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            ["sh", "-c", shell, "sh", program, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.session, self.count, self.events, self.rest = {}, 0, [], b""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        answer = self("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": answer["sessionId"]}
        self("Page.enable")
        self("Network.enable")

    def __call__(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params, **self.session}
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        while (answer := self.next()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def next(self, seconds=60):
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            left = max(end - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"the browser said nothing for {seconds} s")
            if not (data := os.read(self.process.stdout.fileno(), 1 << 20)):
                raise ConnectionError("the browser ended")
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, path, width, scheme, media="screen"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self("Emulation.setEmulatedMedia", media=media, features=features)
        size = {"width": width, "height": 844, "deviceScaleFactor": 1}
        self("Emulation.setDeviceMetricsOverride", mobile=width < 500, **size)
        self.events.clear()
        self("Page.navigate", url=Path(path).as_uri())
        while "Page.loadEventFired" not in [one.get("method") for one in self.events]:
            self.events.append(self.next())

    def value(self, expression):
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def close(self):
        with contextlib.suppress(Exception):
            self("Browser.close")
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


# Every visible text, its contrast to the nearest background, the least first.
CONTRASTS = """(() => {
const parse = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => parse(colour).slice(0, 3).map(x => x / 255)
  .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
for (let node; node = texts.nextNode();) {
  const element = node.parentElement;
  if (!node.data.trim() || !element.getClientRects().length) continue;
  let behind = element;
  while (behind && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1)
    behind = behind.parentElement;
  const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255 255 255)";
  const ends = [getComputedStyle(element).color, ground].map(light);
  found.push([(Math.max(...ends) + .05) / (Math.min(...ends) + .05), node.data]);
}
return found.sort((a, b) => a[0] - b[0]);
})()"""


SCROLLING = """[...document.querySelectorAll("*")].filter(
  x => x.scrollWidth > x.clientWidth + 1 && getComputedStyle(x).overflowX == "auto"
).length"""

"""Checks /debug/pools of the example `server` under load. Called by page.sh.

Controls Chromium by WebDriver, which is HTTP and JSON, so Python's standard library is enough.
Usage: page.py SERVER SCREENSHOTS
"""

import base64
import http.client
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

POOLS = ["bodies", "compressors", "documents", "keys", "numbers", "orders", "replies", "texts"]
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]
# A timeout in seconds, longer than any step takes.
STUCK = 90


class Failed(Exception):
    pass


def check(true, what):
    if not true:
        raise Failed(what)


def wait_for(what, look):
    """Returns the first result of `look` that is true."""
    end = time.monotonic() + STUCK
    while time.monotonic() < end:
        if seen := look():
            return seen
        time.sleep(0.25)
    raise Failed(f"timed out after {STUCK} s: {what}")


class Server:
    def __init__(self, program, listen="127.0.0.1:0"):
        self.process = subprocess.Popen(
            [program, "--listen", listen, "--workers", "2"], stdout=subprocess.PIPE, text=True)
        greeting = self.process.stdout.readline()
        found = re.match(r"listening on http://(\S+) ", greeting)
        check(found, f"the server says {greeting!r}")
        self.address = found[1]

    def figures(self):
        with urllib.request.urlopen(f"http://{self.address}/debug/pools.json", timeout=STUCK) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        return self.process.wait(STUCK)


class Load:
    """Clients that send events, some of them large, on persistent connections."""

    def __init__(self, address, clients=3):
        self.stopped, self.errors = threading.Event(), []
        self.threads = [threading.Thread(target=self.client, args=(address,)) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, address):
        item = {"id": 1, "name": "an event", "tags": ["a", "b"], "at": 1.5, "nested": {"x": [1, 2, 3]}}
        small, large = json.dumps([item] * 20), json.dumps([item] * 3000)
        try:
            connection = http.client.HTTPConnection(address, timeout=STUCK)
            turn = 0
            while not self.stopped.is_set():
                turn += 1
                connection.request("POST", "/v1/events", large if turn % 50 == 0 else small,
                                   {"Content-Type": "application/json", "Accept-Encoding": "gzip"})
                answer = connection.getresponse()
                answer.read()
                check(answer.status == 200, f"status {answer.status}")
                time.sleep(0.002)
        except Exception as error:  # reported by `stop`
            self.errors.append(error)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        check(not self.errors, f"load failed: {self.errors}")


class Browser:
    def __init__(self, scratch):
        self.driver = subprocess.Popen(
            [shutil.which("chromedriver"), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self.base = f"http://127.0.0.1:{found[1]}"
                break
        else:
            raise Failed("chromedriver does not start")
        # Drains the output, which continues.
        threading.Thread(target=self.driver.stdout.read, daemon=True).start()
        options = {"binary": shutil.which("chromium"), "args": CHROMIUM + [f"--user-data-dir={scratch}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            session = self.ask("/session", {"capabilities": {"alwaysMatch": wanted}})
        except Exception:
            self.driver.terminate()
            raise
        self.base += f"/session/{session['sessionId']}"

    def ask(self, path, what=None, method=None):
        data = None if what is None else json.dumps(what).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=STUCK) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {json.load(error)['value']['message']}") from error

    def run(self, script, *arguments):
        return self.ask("/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command, **parameters):
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look_like(self, width, height, scheme):
        phone = width < 600
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=phone,
                      deviceScaleFactor=2 if phone else 1)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path):
        picture = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def complaints(self):
        return [entry for entry in self.ask("/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def close(self):
        try:
            self.ask("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait(STUCK)


# Reads what the page shows, as text and as charts.
SHOWN = """
const text = (node) => node ? node.textContent : null;
const facts = {};
for (const node of document.querySelectorAll("[data-fact]")) facts[node.dataset.fact] = text(node.querySelector("dd"));
const pools = {};
for (const node of document.querySelectorAll("[data-pool]")) {
  const charts = {};
  for (const kind of ["hit", "idle", "use"]) {
    const figure = node.querySelector(`figure.${kind}`);
    const paths = [...figure.querySelectorAll("svg path:not(.under)")].map((path) => path.getAttribute("d"));
    const points = paths.flatMap((path) => path.slice(1).split("L").map((point) => point.split(" ").map(Number)));
    charts[kind] = {
      now: text(figure.querySelector("b")), note: text(figure.querySelector(".note")), points,
      passes: figure.querySelectorAll("svg line").length,
      dropped: figure.querySelectorAll("svg line.dropped").length,
      label: figure.querySelector("svg").getAttribute("aria-label"),
    };
  }
  const [about, rate] = [...node.querySelectorAll(".name p")].map(text);
  pools[node.dataset.pool] = { about, rate, charts, advice: [...node.querySelectorAll(".advice li")].map(text) };
}
return { facts, pools, order: Object.keys(pools), state: text(document.getElementById("state")),
  side: text(document.getElementById("side")) };
"""

# Lists defects of the layout: text that is too faint or too small, and elements that overflow.
UGLY = """
const wrong = [];
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) wrong.push(`the page is ${document.documentElement.scrollWidth} wide`);
const colour = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const box = node.getBoundingClientRect();
  if (!own || box.width === 0 || node.closest("script, style, noscript")) continue;
  let back = node, colours = [0, 0, 0, 0];
  while (back && (colours = colour(getComputedStyle(back).backgroundColor)).length === 4 && colours[3] === 0) back = back.parentElement;
  const [a, b] = [light(colour(getComputedStyle(node).color)), light(colours)];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const is = `${node.tagName} "${node.textContent.trim().slice(0, 40)}"`;
  if (contrast < 4.5) wrong.push(`${is}: contrast ${contrast.toFixed(2)}`);
  if (parseFloat(getComputedStyle(node).fontSize) < 12) wrong.push(`${is}: too small`);
  if (box.right > width + 1 || box.left < -1) wrong.push(`${is}: sticks out`);
  if (node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline") wrong.push(`${is}: is cut or overflows`);
}
return wrong;
"""


def under_load(browser, server):
    """Charts grow and show passes, and the numbers are those of the service."""
    shown = wait_for("eight pools and a pass", lambda: (
        (seen := browser.run(SHOWN))["order"] == POOLS
        and seen["pools"]["compressors"]["charts"]["idle"]["passes"] >= 2 and seen))
    check(shown["side"] == "pooled, glibc", shown["side"])
    check(shown["state"] == "", shown["state"])
    check(float(shown["facts"]["events/s"]) > 5, shown["facts"])
    check(int(shown["facts"]["pool passes"]) >= 2, shown["facts"])
    check(re.fullmatch(r"[\d.]+ MiB", shown["facts"]["resident"]), shown["facts"])
    check(shown["facts"]["failed"] == "0", shown["facts"])
    check(int(shown["facts"]["connections"]) >= 3, shown["facts"])
    for name, pool in shown["pools"].items():
        charts = pool["charts"]
        if name != "bodies":  # used by the large events only
            check(float(re.match(r"[\d.]+", pool["rate"])[0]) > 5, (name, pool["rate"]))
            rate = float(re.fullmatch(r"([\d.]+) %", charts["hit"]["now"])[1])
            check(rate > 90, (name, charts["hit"]))
        check(pool["about"] == {"bodies": "buffers", "replies": "buffers", "texts": "buffers",
                                "documents": "arenas"}.get(name, "objects"), pool["about"])
        check(len(charts["idle"]["points"]) >= 5, (name, charts["idle"]))
        check(charts["idle"]["label"].endswith(charts["idle"]["now"]), charts["idle"]["label"])
        for chart in charts.values():
            across = [x for x, _ in chart["points"]]
            check(across == sorted(across) and all(-1 <= x <= 301 for x in across), across)
            check(all(0 <= y <= 52 for _, y in chart["points"]), chart["points"])
    idle = shown["pools"]["compressors"]["charts"]["idle"]["now"]
    check(re.fullmatch(r"[\d.]+ (KiB|MiB)", idle), idle)

    advice = wait_for("advice", lambda: (
        "bytes on average" in " ".join((pools := browser.run(SHOWN)["pools"])["orders"]["advice"])
        and pools["compressors"]["advice"] == ["Nothing to advise"]
        and pools["orders"]["advice"]))
    words = {pool["name"]: pool["advice"] for pool in server.figures()["pools"]}
    check(len(words["orders"]) == len(advice), (words["orders"], advice))

    def agree():
        """Whether the page and the JSON agree about the created objects."""
        seen = browser.run(SHOWN)["pools"]
        real = {pool["name"]: pool["stats"]["created"] for pool in server.figures()["pools"]}
        said = {name: int(re.search(r"(\d+) created", pool["charts"]["hit"]["note"])[1]) for name, pool in seen.items()}
        return real == said
    wait_for("the counts of created objects agree", agree)


def at_rest(browser):
    """Without load, three passes drop everything, and the page shows that."""
    def is_empty():
        pools = browser.run(SHOWN)["pools"]
        return all(
            pool["charts"]["idle"]["now"] == "0 B" and pool["charts"]["use"]["now"] == "0"
            and pool["charts"]["hit"]["now"] == "no requests" and pool["rate"] == "0 requests/s"
            for pool in pools.values()) and pools
    pools = wait_for("idle pools are empty", is_empty)
    for name, pool in pools.items():
        check(pool["charts"]["idle"]["dropped"] >= 1, f"no pass that dropped something is drawn for {name}")
        _, top = min(pool["charts"]["idle"]["points"], key=lambda point: point[1])
        _, end = pool["charts"]["idle"]["points"][-1]
        check(top < 10 and end > 45, f"{name}: idle bytes are drawn from {top} to {end}")


def looks(browser, pictures, what):
    for width, height in [(1280, 900), (390, 844)]:
        for scheme in ["light", "dark"]:
            browser.look_like(width, height, scheme)
            time.sleep(1.2)  # the page updates once
            browser.picture(pictures / f"{what}-{width}-{scheme}.png")
            wrong = browser.run(UGLY)
            check(not wrong, f"{what}, {width} pixels, {scheme}:\n  " + "\n  ".join(wrong))
    browser.look_like(1280, 900, "light")


def figures_of(name, kind="objects", **stats):
    zero = ["created", "reused", "returned", "adopted", "taken", "discarded", "trimmed", "idle", "idle_bytes", "in_use",
            "peak_idle", "peak_in_use", "looked_at_bytes", "used_bytes"]
    return {"kind": kind, "name": name, "enabled": True, "hit_rate": 0.5, "advice": [],
            "stats": dict.fromkeys(zero, 0) | {"discarded_by": {"full": 7, "user": 0}} | stats}


class Stub(http.server.BaseHTTPRequestHandler):
    """The page with figures that the example never has."""

    pools, asked = [], []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/debug/pools":
            kind, content = "text/html; charset=utf-8", Path("examples/server/page.html").read_bytes()
        else:
            kind, content = "application/json", json.dumps({
                "side": "pooled", "allocator": "glibc", "uptime_seconds": len(self.asked), "events": 10**15,
                "answers": {"ok": 1, "refused": 10**6, "failed": 10**9}, "connections": 2, "resident_bytes": None,
                "allocator_calls": None, "janitor": {"running": True, "passes": 0, "wake_ups": 0, "pools": 0},
                "pools": self.pools}).encode()
        self.send_response(200 if self.path.startswith("/debug/pools") else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def odd_pools(browser, pictures):
    """Names are text whatever they contain, each pool has its own row, and large figures fit."""
    attack = "<img src=/x onerror='window.hacked = 1'><script>window.hacked = 2</script>"
    figures = dict(created=10, reused=30, idle=2, idle_bytes=2048)
    huge = dict(created=10**12, reused=2**63, idle=10**9, idle_bytes=2**50, in_use=10**7, peak_in_use=10**8, trimmed=10**13)
    Stub.pools = sorted([
        figures_of(attack, **figures) | {"advice": [f"{attack}: raise `{attack}`"]},
        figures_of("twins", **figures), figures_of("twins", **figures | {"idle_bytes": 4096}),
        figures_of("twins", "buffers", **figures), figures_of("a/b"), figures_of("b/a"), figures_of(""),
        figures_of("line\nbreak \" ' \\ &amp; \u00e4\U0001f600"), figures_of("constructor", **huge), figures_of("__proto__"),
        figures_of("a-name-without-a-space-" * 8, **figures) | {"enabled": False},
    ], key=lambda pool: (pool["name"], pool["kind"]))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = "return [...document.querySelectorAll('.pool h2')].map((node) => node.textContent)"
    try:
        browser.ask("/url", {"url": f"http://127.0.0.1:{server.server_port}/debug/pools"})
        wait_for("a row per pool, sorted by name", lambda: browser.run(names) == [pool["name"] for pool in Stub.pools])
        looks(browser, pictures, "odd")
        idle = browser.run("return [...document.querySelectorAll('[data-pool=twins] .idle b')].map((node) => node.textContent)")
        check(idle == ["2.0 KiB", "2.0 KiB", "4.0 KiB"], idle)
        made = browser.run("return [window.hacked ?? null, document.querySelectorAll('img, main script').length]")
        check(made == [None, 0], made)
        advice = browser.run("return [...document.querySelectorAll('.advice li:not(.none)')].map((node) => node.textContent)")
        check(advice == [f"{attack}: raise {attack}"], advice)

        # One twin goes, and another pool takes the place of the other: its counters start again.
        Stub.pools = [pool for pool in Stub.pools if pool["name"] != "twins"] + [figures_of("twins", created=1, reused=0)]
        wait_for("the twins are gone", lambda: browser.run(names) == [pool["name"] for pool in Stub.pools])
        time.sleep(1.5)
        rates = browser.run("return [...document.querySelectorAll('.pool')].map((node) => node.querySelectorAll('.name p')[1].textContent)")
        check(all(re.fullmatch(r"\d+ requests/s", rate) for rate in rates), rates)
        check(set(Stub.asked) <= {"/debug/pools", "/debug/pools.json"}, set(Stub.asked))
        complaints = browser.complaints()
        check(not complaints, complaints)
    finally:
        server.shutdown()


def main(program, pictures):
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(program)
        browser = load = None
        try:
            browser = Browser(scratch)
            browser.look_like(1280, 900, "light")
            browser.ask("/url", {"url": f"http://{server.address}/debug/pools"})
            wait_for("the page says that no pool has been used",
                     lambda: browser.run(SHOWN)["state"] == "No pool has been used yet.")
            load = Load(server.address)
            under_load(browser, server)
            looks(browser, pictures, "load")
            load.stop()
            load = None
            at_rest(browser)
            looks(browser, pictures, "rest")
            asked = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
            check(set(asked) <= {f"http://{server.address}/debug/pools.json"}, set(asked))
            complaints = browser.complaints()
            check(not complaints, complaints)

            check(server.stop() == 0, "the server does not exit cleanly")
            wait_for("the page says that the service is away",
                     lambda: "does not answer" in browser.run(SHOWN)["state"])
            looks(browser, pictures, "away")
            server = Server(program, server.address)
            wait_for("the page is back, without the old numbers", lambda: (
                (seen := browser.run(SHOWN))["state"] == "No pool has been used yet." and seen["order"] == []))
            browser.complaints()  # from the time without a service
            odd_pools(browser, pictures)
        finally:
            if load:
                load.stopped.set()
            if browser:
                browser.close()
            server.stop()
    print(f"the page shows the right values; screenshots are in {pictures}")


try:
    main(sys.argv[1], Path(sys.argv[2]))
except Failed as failure:
    sys.exit(f"FAILED: {failure}")

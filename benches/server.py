"""Runs the example `server` under load and prints tables. Called by server.sh, which says what it needs."""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = ["plain", "thread-local", "pooled"]
NO_BUFFERS = "pooled, no buffers"
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
TICKS = os.sysconf("SC_CLK_TCK")
# Kinds of pools to switch off, to see what each brings.
KINDS = {
    "compressors": "compressors", "arenas": "documents", "buffers": "bodies,replies,texts",
    "small objects": "keys,numbers,orders",
}


def bodies(sizes):
    """JSON documents of about these many bytes, the same in every run."""
    chance = random.Random(1)
    words = [("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9)))) for _ in range(500)]

    def event():
        return {
            "id": chance.randrange(10**9), "kind": chance.choice(words), "at": round(chance.uniform(0, 1e6), 3),
            "tags": chance.choices(words, k=chance.randint(0, 4)), "ok": chance.random() < 0.9, "parent": None,
            "user": {"name": " ".join(chance.choices(words, k=2)), "age": chance.randint(18, 90)},
            "text": " ".join(chance.choices(words, k=chance.randint(3, 20))) + chance.choice(["", " \"x\"\n", " \u00e4"]),
        }

    made = []
    for size in sizes:
        events = [event()]
        while len(json.dumps(events)) < size:
            events.append(event())
        made.append(json.dumps(events).encode())
    return made


class Server:
    def __init__(self, programs, side, allocator, more=(), environment=None, under=()):
        command = [*under, str(programs / "server"), "--listen", "127.0.0.1:0", *more]
        if side != "pooled":
            command.append(f"--{side}")
        environment = dict(os.environ, **(environment or {}))
        if allocator == "mimalloc":
            # As the program itself would start again with --allocator, which valgrind does not follow.
            environment["REPOOL_COMPARE_ALLOCATOR"] = "mimalloc"
            command += ["--allocator", "mimalloc"]
        elif allocator == "jemalloc":
            environment["LD_PRELOAD"] = JEMALLOC
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.address = re.match(r"listening on http://(\S+) ", self.process.stdout.readline())[1]

    def figures(self):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("GET", "/debug/pools.json", headers={"Connection": "close"})
        return json.loads(connection.getresponse().read())

    def system(self):
        """Processor seconds and page faults so far, and resident MiB."""
        process = self.process.pid
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        status = Path(f"/proc/{process}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
        return (int(fields[11]) + int(fields[12])) / TICKS, int(fields[7]), resident

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            sys.exit("the server did not end well")


class Load:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, Path(scratch)
        self.bodies = bodies(options.sizes)
        self.files = []
        for number, body in enumerate(self.bodies):
            self.files.append(self.scratch / f"{number}.json")
            self.files[-1].write_bytes(body)

    def full_speed(self, server, coding, seconds):
        """Of wrk: requests per second."""
        script = self.scratch / "wrk.lua"
        quoted = ", ".join("[==[" + body.decode() + "]==]" for body in self.bodies)
        script.write_text(f"""
            local bodies, turn, requests = {{{quoted}}}, 0, {{}}
            init = function()
              local headers = {{["Content-Type"] = "application/json", ["Accept-Encoding"] = "{coding}"}}
              for n, body in ipairs(bodies) do requests[n] = wrk.format("POST", "/v1/events", headers, body) end
            end
            request = function()
              turn = turn % #requests + 1
              return requests[turn]
            end
        """)
        command = ["wrk", "-t1", f"-c{self.options.connections}", f"-d{seconds}s", "-s", str(script),
                   f"http://{server.address}"]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in output or "Socket errors" in output:
            sys.exit(f"wrk saw errors:\n{output}")
        return float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])

    def fixed_rate(self, server, coding, seconds):
        """Of `load`: its line."""
        command = [str(self.options.programs / "load"), "--address", server.address, "--rate", str(self.options.rate),
                   "--seconds", str(seconds), "--connections", str(self.options.connections), "--bodies", *self.files]
        if coding == "identity":
            command.append("--identity")
        line = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if line["errors"]:
            sys.exit(f"load saw errors: {line}")
        return line

    def one_by_one(self, server, coding, count):
        """So many requests on one connection, each sent in one piece."""
        host, port = server.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = connection.makefile("rb")
            for number in range(count):
                body = self.bodies[number % len(self.bodies)]
                header = ("POST /v1/events HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n"
                          f"Accept-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n")
                connection.sendall(header.encode() + body)
                status, length = answers.readline(), 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if b" 200 " not in status or len(answers.read(length)) != length:
                    sys.exit(f"the answer is {status}")


def counted(load, side, allocator, coding, environment=None):
    """Allocator calls and page faults of a request, warm."""
    server = Server(load.options.programs, side, allocator, ["--count-allocations"], environment)
    turns = 10 * len(load.bodies)
    load.one_by_one(server, coding, turns)
    # What asking for figures takes itself.
    first, second = server.figures(), server.figures()
    asking = second["allocator_calls"] - first["allocator_calls"]
    faults = server.system()[1]
    load.one_by_one(server, coding, 5 * turns)
    faults = server.system()[1] - faults
    calls = server.figures()["allocator_calls"] - second["allocator_calls"] - asking
    server.stop()
    return calls / (5 * turns), faults / (5 * turns)


def instructions(load, side, allocator, coding, environment=None):
    """Of a request, in thousands: the difference of a longer and a shorter run under callgrind."""
    totals = []
    turns = 2 * len(load.bodies)
    for count in [turns, 11 * turns]:
        out = load.scratch / "callgrind.out"
        under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--log-file={load.scratch}/log"]
        server = Server(load.options.programs, side, allocator, ["--workers", "1", "--patience", "60000"], environment,
                        under)
        load.one_by_one(server, coding, count)
        server.stop()
        totals.append(int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1]))
    return (totals[1] - totals[0]) / (10 * turns) / 1e3


def table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def counts(load, allocators):
    print(f"Of one request, one after the other, bodies of {load.options.sizes} bytes in turn: allocator calls, "
          "page faults, thousands of instructions.\n")
    for coding in load.options.codings:
        rows = []
        for allocator in allocators:
            for side in SIDES:
                # jemalloc is called by way of the system's functions, so its calls are those of glibc.
                calls, faults = counted(load, side, allocator, coding)
                thousands = instructions(load, side, allocator, coding) if load.options.valgrind else None
                rows.append([allocator, side, f"{calls:.1f}", f"{faults:.1f}",
                             "" if thousands is None else f"{thousands:.0f}"])
        print(f"{coding}:\n")
        table(["allocator", "side", "allocator calls", "page faults", "k instructions"], rows)


def by_kind(load, allocators):
    print("What each kind of pool brings: all pools but one kind (the others off by REPOOL=off:NAMES), or one kind "
          "alone.\n")
    for coding in load.options.codings:
        for allocator in allocators[:1]:
            rows = []
            for name, off in [
                ("all pools", ""), ("none", ",".join(KINDS.values())),
                *((f"without {kind}", names) for kind, names in KINDS.items()),
                *((f"{kind} alone", ",".join(names for other, names in KINDS.items() if other != kind))
                  for kind in KINDS),
            ]:
                environment = {"REPOOL": f"off:{off}"} if off else {}
                calls, faults = counted(load, "pooled", allocator, coding, environment)
                thousands = instructions(load, "pooled", allocator, coding, environment) if load.options.valgrind else None
                rows.append([name, f"{calls:.1f}", f"{faults:.1f}", "" if thousands is None else f"{thousands:.0f}"])
            print(f"{coding}, {allocator}:\n")
            table(["pools", "allocator calls", "page faults", "k instructions"], rows)


def timed(load, side, allocator, coding, wait):
    seconds = load.options.seconds
    environment = {"REPOOL": f"off:{KINDS['buffers']}"} if side == NO_BUFFERS else {}
    server = Server(load.options.programs, "pooled" if side == NO_BUFFERS else side, allocator, (), environment)
    load.full_speed(server, coding, 1)
    before, events = server.system(), server.figures()["events"]
    rate = load.full_speed(server, coding, seconds)
    after, done = server.system(), server.figures()["events"] - events
    line = load.fixed_rate(server, coding, seconds)
    resident = after[2]
    later = None
    if wait:
        time.sleep(load.options.wait)
        later = server.system()[2]
    server.stop()
    return {
        "requests/s": rate, "CPU us": 1e6 * (after[0] - before[0]) / done, "p50": line["p50_us"] / 1e3,
        "p99": line["p99_us"] / 1e3, "p99.9": line["p999_us"] / 1e3, "RSS": resident, "RSS later": later,
    }


def times(load, allocators):
    options = load.options
    print(f"At full speed (wrk, {options.connections} connections): requests/s, processor time of the server for a "
          f"request, resident MiB at the end and {options.wait} s after the load. At {options.rate}/s (open loop, latency from "
          f"when a request was due): ms. Medians of {options.rounds} rounds in turn, ranges in brackets.\n")
    for coding in load.options.codings:
        runs = {(allocator, side): [] for allocator in allocators for side in [*SIDES, NO_BUFFERS]}
        for turn in range(options.rounds):
            for variant in runs if turn % 2 == 0 else reversed(runs):
                allocator, side = variant
                runs[variant].append(timed(load, side, allocator, coding, turn == 0 and coding == options.codings[0]))
                print(f"{coding} {turn + 1} {variant}: {runs[variant][-1]}", file=sys.stderr, flush=True)
        rows = []
        for (allocator, side), rounds in runs.items():
            row = [allocator, side]
            for figure in ["requests/s", "CPU us", "p50", "p99", "p99.9", "RSS", "RSS later"]:
                some = [one[figure] for one in rounds if one[figure] is not None]
                digits = 0 if figure in ["requests/s", "CPU us", "RSS", "RSS later"] else 2
                if not some:
                    row.append("")
                    continue
                row.append(f"{statistics.median(some):.{digits}f}"
                           + (f" ({min(some):.{digits}f}-{max(some):.{digits}f})" if len(some) > 1 else ""))
            ratios = [one["CPU us"] / plain["CPU us"] for one, plain in zip(rounds, runs[allocator, "plain"])]
            row.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
            rows.append(row)
        print(f"{coding}:\n")
        table(["allocator", "side", "requests/s", "CPU us", "p50", "p99", "p99.9", "RSS", "later",
               "CPU to plain"], rows)


def main():
    parser = argparse.ArgumentParser(prog="benches/server.sh", description=__doc__)
    parser.add_argument("--programs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load, in each part of a round")
    parser.add_argument("--rate", type=int, default=400, help="requests per second of the open-loop client")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")],
                        default=[500, 1000, 2000, 2000, 4000, 4000, 8000, 16000], help="of the bodies, in bytes")
    parser.add_argument("--wait", type=int, default=20, help="seconds until resident memory is read again")
    parser.add_argument("--allocators", type=lambda text: text.split(","), default=["glibc", "mimalloc", "jemalloc"])
    parser.add_argument("--codings", type=lambda text: text.split(","), default=["gzip", "identity"])
    parser.add_argument("--only", choices=["counts", "kinds", "times"])
    parser.add_argument("--no-instructions", action="store_true", help="do not run under valgrind, which takes long")
    options = parser.parse_args()
    options.valgrind = shutil.which("valgrind") is not None and not options.no_instructions
    has_jemalloc = Path(JEMALLOC).exists()
    allocators = [name for name in options.allocators if name != "jemalloc" or has_jemalloc]
    for there, what in [(shutil.which("valgrind"), "valgrind: no instructions"), (has_jemalloc, "libjemalloc2"),
                        (shutil.which("wrk"), "wrk: no times")]:
        if not there:
            print(f"MISSING: {what}\n")

    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"machine  {model[1] if model else 'unknown'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"rustc    {said('rustc', '-V')}")
    print(f"commit   {said('git', 'rev-parse', '--short=12', 'HEAD')}")
    print(f"command  benches/server.sh {' '.join(sys.argv[3:])}\n")
    with tempfile.TemporaryDirectory() as scratch:
        load = Load(options, scratch)
        if options.only in (None, "counts"):
            counts(load, allocators)
        if options.only in (None, "kinds"):
            by_kind(load, allocators)
        if options.only in (None, "times") and shutil.which("wrk"):
            times(load, allocators)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


main()

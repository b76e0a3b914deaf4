#!/usr/bin/env python3
"""Runs the mutants of cargo-mutants on the library. See ci/mutants.sh, which calls this and has the usage.

Building the crate and its tests for each of some thousand mutants takes days. So all mutants are built into one program,
as ci/loom-mutants.sh does: each function has its body once for each mutant, and a variable of the environment decides
which one a process runs. Mutants of constants and of functions that return `impl Trait` cannot be built like that, so
each is built alone. Those that do not compile are left out.
"""

import collections
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

CHOICE = "REPOOL_CARGO_MUTANT"
SURVIVED = "SURVIVED"
# How a process learns its mutant: before `main`, without an allocation, so that no test sees the difference.
WHICH = f"""
#[doc(hidden)]
pub mod cargo_mutant {{
    use std::sync::atomic::{{AtomicU32, Ordering}};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    #[used]
    #[unsafe(link_section = ".init_array")]
    static READ: extern "C" fn() = {{
        extern "C" fn read() {{
            let text = unsafe {{ libc::getenv(c"{CHOICE}".as_ptr()) }};
            if !text.is_null() {{
                NUMBER.store(unsafe {{ libc::atoi(text) }} as u32, Ordering::Relaxed);
            }}
        }}
        read
    }};
    #[inline(always)]
    pub fn number() -> u32 {{
        NUMBER.load(Ordering::Relaxed)
    }}
}}
"""
FEATURES = ["--features", "diagnostics"]
# In this order: a program that fails ends the run of a mutant.
# What the environment and the program set for the whole process.
PROCESS = ["environment", "janitor"]
PROGRAMS = ["lib", "it", "buffers", "arenas"]
# Those that none of these has killed meet the others that look at what the pool does.
MORE = ["miri", "buffers_memory", "weights", "switched_off", "diagnostics", "observe", "fork", "alloc",
        "buffers_alloc", "arenas_alloc", "schedules", "replay", "faults", "rss", "ports", "gate", "exit", "fallback",
        "depots"]
# For a mutant that is built alone, each stage is built only if it has survived the one before.
ALONE = [["lib"], PROCESS, PROGRAMS[1:], MORE]


def body_of(text, start, end):
    """Where the body of the function text[start:end] starts: behind its first brace outside parentheses."""
    depth, at = 0, start
    while at < end:
        rest = text[at:end]
        skip = re.match(r'//[^\n]*|/\*.*?\*/|"(\\.|[^"\\])*"|\'(\\.|[^\'\\])\'', rest, re.S)
        if skip:
            at += skip.end()
            continue
        if text[at] in "([":
            depth += 1
        elif text[at] in ")]":
            depth -= 1
        elif text[at] == "{" and depth == 0:
            return at + 1
        at += 1
    sys.exit(f"no body: {text[start:end]}")


def return_type(signature):
    """What follows the parameters. Too much, if generic parameters have parentheses."""
    depth, at = 0, signature.index("(", signature.index("fn "))
    while at < len(signature):
        depth += {"(": 1, ")": -1}.get(signature[at], 0)
        at += 1
        if depth == 0:
            break
    return signature[at:]


class Mutant:
    def __init__(self, number, found, text, starts):
        def offset(place):
            return starts[place["line"] - 1] + place["column"] - 1

        self.number, self.name, self.file = number, found["name"], found["file"]
        # Lines move, so ci/mutants.txt has FILE: WHAT, without line and column. See also `number_the_same`.
        self.what = re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", self.name)
        self.span = offset(found["span"]["start"]), offset(found["span"]["end"])
        self.replacement = found["replacement"]
        if found["genre"] == "StructField" and text[self.span[1]] == ",":
            self.span = self.span[0], self.span[1] + 1
        self.body = None
        function = found["function"]
        if not function:
            self.what += " in " + re.findall(r"\b(?:const|static|struct) (\w+)", text[:self.span[0]])[-1]
        else:
            start, end = offset(function["span"]["start"]), offset(function["span"]["end"])
            body = body_of(text, start, end)
            signature = text[start:body]
            if "impl " not in return_type(signature) and not re.search(r"\bconst (unsafe )?fn\b", signature):
                self.body = body, end - 1

    def module(self):
        return re.sub(r"^src/|(/mod)?\.rs$", "", self.file).replace("/", "::") + "::"

    def folder(self):
        """The module of all files in the same folder; that of the file if the folder is src/."""
        folder = self.module()[:-2].rpartition("::")[0]
        return f"{folder}::" if folder else self.module()

    def applied(self, text, start, end):
        return text[start:self.span[0]] + f" {self.replacement} " + text[self.span[1]:end]


def read_mutants(tree, files, pattern):
    command = ["cargo", "mutants", "--list", "--json", "--exclude-re", "tests::|model::"]
    for file in files:
        command += ["--file", file]
    mutants, texts = [], {}
    for number, found in enumerate(json.loads(subprocess.check_output(command, cwd=tree)), 1):
        file = found["file"]
        if file not in texts:
            text = (tree / file).read_text()
            starts = [0]
            for line in text.split("\n"):
                starts.append(starts[-1] + len(line) + 1)
            texts[file] = text, starts
        mutants.append(Mutant(number, found, *texts[file]))
    mutants.sort(key=lambda mutant: files.index(mutant.file))
    number_the_same(mutants)
    mutants = [mutant for mutant in mutants if re.search(pattern, mutant.name)]
    return mutants, {file: text for file, (text, _) in texts.items()}


def number_the_same(mutants):
    """If the same is done at several places of a function, says at which."""
    places = collections.defaultdict(list)
    for mutant in mutants:
        places[mutant.what].append(mutant)
    for same in places.values():
        for index, mutant in enumerate(same, 1):
            if len(same) > 1:
                mutant.what += f" ({index} of {len(same)})"


def weave(tree, texts, mutants):
    """Writes the files with these mutants in them. Returns the lines of each, to find out which ones do not compile."""
    lines = collections.defaultdict(list)
    for file, text in texts.items():
        by_body = collections.defaultdict(list)
        for mutant in mutants:
            if mutant.file == file:
                by_body[mutant.body].append(mutant)

        def woven(start, end):
            inner = [body for body in by_body if start <= body[0] and body[1] <= end]
            out, at = [], start
            for body in sorted(inner):
                if body[0] < at:
                    continue  # inside the one before
                own = by_body.pop(body)
                out += [text[at:body[0]], "\nmatch crate::cargo_mutant::number() {\n"]
                for mutant in own:
                    out += [mutant, mutant.applied(text, *body), None]
                out += ["_ => {\n", *woven(*body), "\n}\n}\n"]
                at = body[1]
            return [*out, text[at:end]]

        result, owner, first = "", None, 0
        for part in woven(0, len(text)):
            if isinstance(part, Mutant):
                result += f"{part.number} => {{\n"
                owner, first = part, result.count("\n") + 1
            elif part is None:
                result += "\n}\n"
                lines[file].append((first - 1, result.count("\n"), owner))
            else:
                result += part
        (tree / file).write_text(result)
    return lines


def wait_while_paused(target):
    """Waits while there is a file `pause` beside the target directory."""
    while (target.parent / "pause").exists():
        time.sleep(1)


def cargo(tree, target, *arguments):
    wait_while_paused(target)
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target), RUSTFLAGS="-A warnings", CARGO_INCREMENTAL="1",
                       CARGO_PROFILE_DEV_DEBUG="0", CARGO_PROFILE_DEV_OPT_LEVEL="1")
    done = subprocess.run(["cargo", *arguments, *FEATURES, "--message-format=json"], cwd=tree, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = [message["message"]["rendered"] for message in messages if message.get("message", {}).get("level") == "error"]
    return done.returncode, messages, "\n".join([*errors, done.stderr])


def programs(tree, target, names):
    """Builds the test programs. None if the crate does not compile."""
    chosen = [part for name in names for part in (["--lib"] if name == "lib" else ["--test", name])]
    code, messages, errors = cargo(tree, target, "test", "--no-run", *chosen)
    if code != 0:
        return None, errors
    built = {}
    for message in messages:
        if message.get("executable"):
            kind = message["target"]["kind"]
            built["lib" if "lib" in kind else message["target"]["name"]] = message["executable"]
    return [(name, built[name]) for name in names], errors


# A type without the trait or the function that the mutant needs: it does not compile alone either.
NEVER_COMPILES = {"E0004", "E0061", "E0277", "E0282", "E0283", "E0308", "E0599"}


def only_what_compiles(tree, target, texts, mutants):
    """Weaves the mutants that compile together. Returns them, and those that have to be built alone."""
    alone = [mutant for mutant in mutants if mutant.body is None]
    together = [mutant for mutant in mutants if mutant.body]
    while True:
        lines = weave(tree, texts, together)
        code, messages, errors = cargo(tree, target, "check", "--lib")
        if code == 0:
            return together, alone
        broken, hopeless = set(), set()
        for message in messages:
            message = message.get("message") or {}
            if message.get("level") != "error":
                continue
            for span in message["spans"]:
                for first, last, mutant in lines.get(span["file_name"], []):
                    if span["is_primary"] and first <= span["line_start"] and span["line_end"] <= last:
                        broken.add(mutant)
                        if (message.get("code") or {}).get("code") in NEVER_COMPILES:
                            hopeless.add(mutant)
        if not broken:
            sys.exit(f"the mutants do not compile together:\n{errors}")
        alone += broken - hopeless
        together = [mutant for mutant in together if mutant not in broken]


def run(tree, program, number, seconds, *arguments, patience=900):
    """Runs a test program until the first test fails. Returns that test, or how the program ended; None if it passes.

    `seconds` are of processor time, because the machine may be busy. After `patience` seconds it is stuck in any case.
    """
    def limited():
        os.nice(19)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
        signal.setitimer(signal.ITIMER_PROF, seconds)

    wait_while_paused(tree)
    process = subprocess.Popen([program, *arguments], cwd=tree, env=dict(os.environ, **{CHOICE: str(number)}), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=limited)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
    signal.alarm(patience)
    started, failed = time.monotonic(), None
    for line in process.stdout:
        test = re.match(r"test (.*) \.\.\. FAILED", line)
        if test:
            failed = test[1]
            os.killpg(process.pid, signal.SIGKILL)
            break
    code = process.wait()
    signal.alarm(0)
    process.stdout.close()
    if failed or code == 0:
        return failed
    if code in (-signal.SIGPROF, -signal.SIGKILL):
        return "hangs" if time.monotonic() - started >= patience else "runs on"
    return f"exit {code}"


def is_test(failed):
    return failed not in ("hangs", "runs on") and not failed.startswith("exit ")


def baseline(tree, program, *arguments):
    """Returns the limit of processor time for runs of this program. It passes without a mutant."""
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        failed = run(tree, program, 0, 3600, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if not failed:
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(pathlib.Path(program).name, *arguments, f"{used:.2f} s", flush=True)
            return 4 * used + 0.2
        print(f"{program} fails without a mutant: {failed}", flush=True)
    sys.exit(1)


def killer(tree, built, seconds, number, hints):
    """The program and the test that finds this mutant, or None."""
    for name, program in built:
        limit = seconds[name]
        # What has killed others of this file goes first.
        likely = [test for test, _ in hints[name].most_common(8)]
        for arguments in [["--exact", *likely], []] if likely else [[]]:
            failed = run(tree, program, number, limit, *arguments)
            while failed and is_test(failed):
                # A test that fails only now and then proves nothing.
                if run(tree, program, number, limit, "--exact", failed):
                    hints[name][failed] += 1
                    break
                arguments = [*arguments, "--skip", failed]
                failed = run(tree, program, number, limit, *arguments)
            if failed:
                return f"{name} {failed}"
    return SURVIVED


def main():
    out, files, pattern, again, unit = pathlib.Path(sys.argv[1]), [], "", False, False
    arguments = sys.argv[2:]
    while arguments:
        argument = arguments.pop(0)
        if argument == "--re":
            pattern = arguments.pop(0)
        elif argument == "--again":
            again = True
        elif argument == "--unit":
            unit = True
        else:
            files.append(argument)
    tree, target = out / "tree", out / "target"
    mutants, texts = read_mutants(tree, files, pattern)
    results, reasons = {}, read_reasons()
    past = out / "results.txt"
    if again and past.exists():
        # Later lines are newer.
        before = dict(reversed(line.split("\t")) for line in past.read_text().splitlines())
        results = {mutant: before[mutant.what] for mutant in mutants if before.get(mutant.what, SURVIVED) != SURVIVED}
        mutants = [mutant for mutant in mutants if mutant not in results]
    lib = tree / "src/lib.rs"
    # The compiler must not refuse a mutant because it sees that it panics.
    lib.write_text("#![allow(unconditional_panic, arithmetic_overflow)]\n" + lib.read_text() + WHICH)
    together, alone = only_what_compiles(tree, target, texts, mutants)
    print(f"{len(mutants)} mutants, {len(alone)} to be built alone", flush=True)
    hints = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
    log = past.open("a")

    def found(mutant, by):
        results[mutant] = by
        print(f"{'killed by ' + by if by != SURVIVED else by}: {mutant.name}", flush=True)
        print(by, mutant.what, sep="\t", file=log, flush=True)

    # For a mutant that is built alone.
    def write(mutant=None):
        for file, text in texts.items():
            changed = mutant is not None and file == mutant.file
            (tree / file).write_text(mutant.applied(text, 0, len(text)) if changed else text)

    # The unit tests of the file find most of them, and take no time. Those of its folder find most of the others. What
    # is explained meets no more tests.
    built, errors = programs(tree, target, ["lib"])
    if built is None:
        sys.exit(errors)
    lib_program = built[0][1]
    left, limits = together, {}
    for tests in Mutant.module, Mutant.folder:
        for mutant in mutants:
            if tests(mutant) not in limits:
                limits[tests(mutant)] = baseline(tree, lib_program, tests(mutant))
        alive = []
        for mutant in left:
            failed = run(tree, lib_program, mutant.number, limits[tests(mutant)], tests(mutant), patience=60)
            if failed not in (None, "hangs"):
                found(mutant, f"lib {failed}")
            elif failed or mutant.what not in reasons:
                alive.append(mutant)
            else:
                results[mutant] = SURVIVED
        left = alive
    left_alone = []
    for mutant in alone:
        write(mutant)
        built, errors = programs(tree, target, ["lib"])
        if not built:
            by = "the compiler, in the tests" if cargo(tree, target, "check", "--lib")[0] == 0 else None
            if by:
                found(mutant, by)
            else:
                print(f"does not compile: {mutant.name}", flush=True)
            continue
        for tests in mutant.module(), mutant.folder():
            failed = run(tree, built[0][1], 0, limits[tests], tests, patience=60)
            if failed not in (None, "hangs"):
                found(mutant, f"lib {failed}")
                break
        else:
            if not failed and mutant.what in reasons:
                results[mutant] = SURVIVED
            else:
                left_alone.append(mutant)
    names = [mutant.name for mutant in [*left, *left_alone]]
    print("\n".join([f"{len(names)} are left to the other tests:", *names]), flush=True)
    if unit:
        results.update((mutant, SURVIVED) for mutant in [*left, *left_alone])
        sys.exit(score(results, reasons))
    if left:
        weave(tree, texts, together)
    seconds = {}
    for names in PROCESS, PROGRAMS, MORE:
        left = [mutant for mutant in left if results.get(mutant, SURVIVED) == SURVIVED]
        built, errors = programs(tree, target, names) if left else ([], "")
        if built is None:
            sys.exit(errors)
        # The tests pass without a mutant.
        for name, program in built:
            seconds[name] = baseline(tree, program)
        for mutant in left:
            found(mutant, killer(tree, built, seconds, mutant.number, hints[mutant.file]))
    for mutant in left_alone:
        by = SURVIVED
        for names in ALONE:
            if by != SURVIVED:
                break
            if not seconds.keys() >= set(names):
                write()
                built, errors = programs(tree, target, names)
                if built is None:
                    sys.exit(errors)
                seconds.update((name, baseline(tree, program)) for name, program in built)
            write(mutant)
            built, errors = programs(tree, target, names)
            by = killer(tree, built, seconds, 0, hints[mutant.file]) if built else "the compiler, in the tests"
        found(mutant, by)
    sys.exit(score(results, reasons))


def read_reasons():
    """The mutants that no test finds, each with the reason."""
    reasons = {}
    for line in pathlib.Path("ci/mutants.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            what, _, reason = line.partition(" # ")
            if not reason:
                sys.exit(f"no reason: {line}")
            reasons[what.strip()] = reason
    return reasons


def score(results, reasons):
    counts, survivors = collections.defaultdict(collections.Counter), []
    for mutant, by in results.items():
        kind = "killed" if by != SURVIVED else "explained" if mutant.what in reasons else "survived"
        counts[mutant.file][kind] += 1
        if kind == "survived":
            survivors.append(mutant.name)
    total = collections.Counter()
    for file, count in sorted(counts.items()):
        total += count
        print(f"{file}: {count['killed']} of {sum(count.values())} killed, {count['explained']} explained")
    print(f"all: {total['killed']} of {sum(total.values())} killed, {total['explained']} explained")
    if survivors:
        print("\n".join(["survived:"] + survivors))
    return 1 if survivors or not total else 0


main()

"""Do the tests notice? Change the code a little, one change at a time, and see whether a test fails.

Usage: python scripts/mutate.py PATH... [--sample N] [--seed S] [--jobs J] [--json FILE] [--tests PATH...]
       python scripts/mutate.py mibench/plan --sample 60 --seed 1

PATHs are modules or folders of ``mibench/``. All work happens in copies of the tree in a temporary folder. First the
tests of the room run once, and it is noted which test reaches which line. Then each mutant runs the tests that reach
its line, quickest files first, until one fails, and then all others: in a process that is forked after torch has been
imported, under limits of time and memory. Survivors are listed with their diff; the exit code is 0 whatever the score.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = ("numpy", "torch", "torchvision", "pydantic", "safetensors.torch", "hypothesis", "jinja2", "yaml", "click")
"""What tests import and no mutant changes."""
TESTS = {
    "assemble": ("assemble", "session/test_numbers.py"),
    "nodes": ("nodes", "plan", "stages"),
    "plan": ("plan", "assemble/test_provenance.py", "session/test_composition.py", "session/test_run.py"),
    "protocol": ("protocol", "stages/test_data.py"),
    "results": ("results", "leaderboard"),
    "session": ("session", "cli/test_run.py"),
    "stages": (
        "stages",
        "session/test_attacks.py",
        "session/test_composition.py",
        "session/test_numbers.py",
        "session/test_some_classes.py",
    ),
    "training": ("training", "stages", "testing"),
}
"""Room to the tests that are about it, under ``tests/``; a room that is not named here has a folder of its own name."""
OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "-W", "ignore:Module already imported")
"""Of pytest in a process that is forked from one which has imported much."""
MEMORY = 8 * 2**30
CONTEXT = multiprocessing.get_context("fork")
SWAPS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.BitOr: ("|", "&"), ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: bytes ``start`` to ``end`` of a file become ``text``."""

    file: str
    line: int
    start: int
    end: int
    text: str
    kind: str


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of the text; annotations, docstrings and messages stay."""
    data, starts = source.encode(), [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def span(node: Any) -> tuple[int, int]:
        first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        return first, last

    found: dict[tuple[int, int, str], Mutant] = {}
    for node, kind, where, text in _changes(ast.parse(source), data, span):
        if data[where[0] : where[1]] != text.encode():
            found.setdefault((*where, text), Mutant(file, node.lineno, *where, text, kind))
    return sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.text))


def _changes(tree: ast.Module, data: bytes, span: Any) -> Iterator[tuple[Any, str, tuple[int, int], str]]:
    def text_of(node: ast.AST) -> str:
        first, last = span(node)
        return data[first:last].decode()

    def swapped(left: ast.AST, operator: ast.AST, right: ast.AST) -> tuple[tuple[int, int], str] | None:
        old, new = SWAPS.get(type(operator), ("", ""))
        gap = (span(left)[1], span(right)[0])
        between = data[slice(*gap)].decode()
        pattern = r"\s+".join(re.escape(word) for word in old.split())
        changed = re.sub(pattern, new, between, count=1) if old else between
        return (gap, changed) if changed != between else None

    for node in _walk(tree):
        match node:
            case ast.Compare(left, ops, comparators):
                for a, op, b in zip([left, *comparators], ops, comparators, strict=False):
                    if swap := swapped(a, op, b):
                        yield b, "comparison", *swap
            case ast.BinOp(left, op, right):
                if swap := swapped(left, op, right):
                    yield right, "arithmetic", *swap
            case ast.BoolOp(op, values):
                for a, b in itertools.pairwise(values):
                    if swap := swapped(a, op, b):
                        yield b, "boolean", *swap
            case ast.UnaryOp(ast.Not(), operand) | ast.UnaryOp(ast.USub(), operand):
                yield node, "sign", span(node), f"({text_of(operand)})"
            case ast.Constant(bool() as value):
                yield node, "constant", span(node), str(not value)
            case ast.Constant(int() | float() as value):
                yield node, "constant", span(node), repr(value + 1)
            case ast.Constant(str() as value) if re.fullmatch(r"[\w./@-]+", value) and text_of(node)[0] in "'\"":
                yield node, "text", span(node), repr(value + "X")
            case ast.If(test) | ast.While(test) | ast.IfExp(test):
                if not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant):  # those have mutants of their own
                    yield test, "condition", span(test), f"(not ({text_of(test)}))"
            case ast.comprehension(ifs=ifs):
                for test in ifs:
                    yield test, "condition", span(test), "True"
            case ast.Return(ast.expr() as value) if text_of(value) != "None":
                yield node, "return", span(value), "None"
            case ast.Break():
                yield node, "jump", span(node), "continue"
            case ast.Continue():
                yield node, "jump", span(node), "break"
            case ast.Expr(ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete() | ast.Raise():
                yield node, "statement", span(node), "pass"
            case ast.Assign(targets) if not any(isinstance(target, ast.Name) for target in targets):
                if not any(isinstance(target, ast.Tuple) for target in targets):
                    yield node, "statement", span(node), "pass"


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield nodes but for annotations, docstrings, messages, f-strings, names for export and imports for types."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Assert):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Assign) and re.match(
                r"__\w+__|\w+ = (Literal|TypeVar|Callable)", ast.unparse(child)
            ):
                continue
            yield child
            if not isinstance(child, ast.Raise):
                yield from _walk(child)


def copy_tree(into: Path) -> None:
    """Copy the files that git knows or would add, compiled."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith(("docs/", "leaderboards/")):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    for folder in ("docs", "leaderboards"):  # read only
        (into / folder).symlink_to(ROOT / folder)
    compiled = [sys.executable, "-m", "compileall", "-q", "mibench", "plugins", "tests"]
    subprocess.run(compiled, cwd=into, check=True, stdout=subprocess.DEVNULL)


def enter(copy: Path) -> None:
    """Work in a copy from now on, here and in processes that tests start, and import what no mutant changes."""
    os.chdir(copy)
    paths = [str(copy), *(str(path) for path in sorted((copy / "plugins").iterdir()))]
    sys.path[:0] = paths
    os.environ.update(
        PYTHONPATH=os.pathsep.join(paths),
        PYTHONDONTWRITEBYTECODE="1",  # a mutant has the size and almost the time of what it replaces
        OMP_NUM_THREADS="1",
        MIBENCH_STORE=str(copy / ".store"),
        HYPOTHESIS_STORAGE_DIRECTORY=str(copy / ".hypothesis"),
    )
    sys.dont_write_bytecode = True
    for name in ("pytest", *PRELOADED):
        __import__(name)


def forked(arguments: Sequence[str], seconds: float, reach: tuple[Sequence[str], Path] | None = None) -> int | None:
    """Run pytest in a forked process and return its exit code, or ``None`` if it took too long.

    Args:
        arguments: of pytest.
        seconds: of wall clock.
        reach: files to watch, and where to write which test reaches which of their lines.
    """
    temporary = Path(".pytest_tmp")
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        with Path(".log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = 3
        try:
            import pytest

            plugins = [Reach(*reach)] if reach else []
            code = pytest.main([*OPTIONS, f"--basetemp={temporary}", *arguments], plugins=plugins)
        except BaseException:  # whatever it is, this process must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(int(code))
    ended, deadline = 0, time.monotonic() + seconds
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # it, and whatever its tests have started
    if not ended:
        os.waitpid(child, 0)
    shutil.rmtree(temporary, ignore_errors=True)
    return os.waitstatus_to_exitcode(status) if ended else None


class Reach:
    """A pytest plugin that notes which test reaches which line, how long it took and whether it passed."""

    def __init__(self, files: Sequence[str], out: Path) -> None:
        import coverage

        self.out, self.files = out, {os.path.realpath(file): file for file in files}
        self.coverage = coverage.Coverage(data_file=None, include=list(self.files), config_file=False)
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin a test."""
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a part of a test."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write what was noted."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {file: data.contexts_by_lineno(path) for path, file in self.files.items()}
        found = {"lines": lines, "seconds": self.seconds, "failed": sorted(self.failed)}
        self.out.write_text(json.dumps(found), encoding="utf-8")


class Judge:
    """Runs mutants in a copy of the tree that is its own."""

    def __init__(self, copy: Path, reach: dict[str, Any]) -> None:
        self.copy, self.reach = copy, reach
        enter(copy)

    def verdict(self, mutant: Mutant) -> str:
        """Return ``killed``, ``timeout`` or ``survived``."""
        path = self.copy / mutant.file
        original = path.read_bytes()
        changed = original[: mutant.start] + mutant.text.encode() + original[mutant.end :]
        try:
            compile(changed, mutant.file, "exec")
        except SyntaxError:
            return "invalid"
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
        path.write_bytes(changed)
        reaching = self.tests_of(mutant)
        try:
            verdict = self._under(reaching)
            if verdict == "survived":
                # What runs on import, or is cached by who came first, matters to tests that do not reach it themselves.
                verdict = self._under(self.tests_of(mutant, all_but=reaching))
        finally:
            path.write_bytes(original)
        return verdict

    def _under(self, tests: Sequence[str]) -> str:
        """Return the verdict of some tests on the copy as it is."""
        if not tests:
            return "survived"
        seconds = 10 + 5 * sum(self.reach["seconds"][test] for test in tests)
        code = forked(["-x", *tests], seconds)
        if code == 4:  # the mutant has changed the names of tests
            code = forked(["-x", *dict.fromkeys(test.partition("::")[0] for test in tests)], 2 * seconds)
        return "timeout" if code is None else "survived" if code in (0, 5) else "killed"

    def tests_of(self, mutant: Mutant, all_but: Sequence[str] = ()) -> list[str]:
        """Return the tests that reach the line, quick files first; all, for a line that only other processes reach.

        With ``all_but``, return all others instead.
        """
        seconds, failed = self.reach["seconds"], set(self.reach["failed"])
        reaching = self.reach["lines"].get(mutant.file, {}).get(str(mutant.line), [])
        tests = {test for test in reaching if test} if any(reaching) and not all_but else set(seconds) - {*all_but}
        total: Counter[str] = Counter()
        for test in tests - failed:
            total[test.partition("::")[0]] += seconds[test]
        ordered = list(seconds)
        return sorted(tests - failed, key=lambda test: (total[test.partition("::")[0]], ordered.index(test)))


def _serve(copy: Path, reach: dict[str, Any], mutants: Sequence[Mutant], results: SimpleQueue[Any]) -> None:
    judge = Judge(copy, reach)
    for mutant in mutants:
        results.put((mutant, judge.verdict(mutant)))


def _measure_reach(copy: Path, files: Sequence[str], tests: Sequence[str], out: Path) -> None:
    enter(copy)
    code = forked(list(tests), 3600, (files, out))
    if code not in (0, 1):
        sys.exit(f"the tests did not run without any mutant (exit code {code}):\n" + Path(".log").read_text()[-2000:])


def files_and_tests(paths: Sequence[Path], tests: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the modules to change and the tests to run, relative to the root."""
    files = sorted({file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])})
    names = [file.resolve().relative_to(ROOT).as_posix() for file in files]
    rooms = sorted({name.split("/")[1].removesuffix(".py") for name in names})
    wanted = tests or [f"tests/{test}" for room in rooms for test in TESTS.get(room, (room,))]
    return names, [test for test in dict.fromkeys(wanted) if (ROOT / test).exists()]


def shown(mutant: Mutant, source: str) -> str:
    """Return the place and the lines before and after."""
    data = source.encode()
    first = data.rfind(b"\n", 0, mutant.start) + 1
    last = len(data) if (end := data.find(b"\n", mutant.end)) < 0 else end
    old = data[first:last].decode()
    new = (data[first : mutant.start] + mutant.text.encode() + data[mutant.end : last]).decode()
    sides = [f"{sign} {line.strip()}" for sign, text in (("-", old), ("+", new)) for line in text.splitlines()]
    return "\n    ".join([f"{mutant.file}:{mutant.line} ({mutant.kind})", *sides])


def main() -> None:
    """Parse the command line, run, print the score and the survivors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, help="modules or folders")
    parser.add_argument("--sample", type=int, help="how many mutants to draw; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at a time")
    parser.add_argument("--json", type=Path, help="file for the score and the survivors")
    parser.add_argument("--tests", nargs="+", default=[], help="tests to run in the place of the room's own")
    options = parser.parse_args()
    files, tests = files_and_tests(options.paths, options.tests)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        copies = [Path(folder) / str(job) for job in range(options.jobs)]
        for copy in copies:
            copy_tree(copy)
        sources = {file: (copies[0] / file).read_text(encoding="utf-8") for file in files}
        mutants = [mutant for file, source in sources.items() for mutant in mutants_of(file, source)]
        if options.sample and options.sample < len(mutants):
            mutants = random.Random(options.seed).sample(mutants, options.sample)
        reach = measured_reach(copies[0], files, tests)
        print(f"{len(mutants)} mutants, {len(reach['seconds'])} tests in {time.monotonic() - begun:.0f} s", flush=True)
        verdicts = {}
        for mutant, verdict in judged(copies, reach, mutants):
            verdicts[mutant] = verdict
            if verdict == "survived":
                print(f"survived: {shown(mutant, sources[mutant.file])}", flush=True)
    report(options, verdicts, sources, time.monotonic() - begun)


def measured_reach(copy: Path, files: Sequence[str], tests: Sequence[str]) -> dict[str, Any]:
    """Run the tests once without any mutant, in a process of their own, and return which reaches what."""
    out = copy.parent / "reach.json"
    process = CONTEXT.Process(target=_measure_reach, args=(copy, files, tests, out))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)
    reach: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    for test in reach["failed"]:
        print(f"left out, for it fails without any mutant: {test}")
    return reach


def judged(copies: Sequence[Path], reach: dict[str, Any], mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Yield each mutant with its verdict, as they come from one process for each copy."""
    results = CONTEXT.SimpleQueue()
    for job, copy in enumerate(copies):
        CONTEXT.Process(target=_serve, args=(copy, reach, mutants[job :: len(copies)], results), daemon=True).start()
    for _ in mutants:
        yield results.get()


def report(options: argparse.Namespace, verdicts: dict[Mutant, str], sources: dict[str, str], seconds: float) -> None:
    """Print the score, and write it with the survivors where that was asked for."""
    count = Counter(verdicts.values())
    valid = len(verdicts) - count["invalid"]
    dead = count["killed"] + count["timeout"]
    print(
        f"{dead} of {valid} mutants killed ({dead / max(1, valid):.1%}), {count['timeout']} by time, in {seconds:.0f} s"
    )
    if options.json:
        left = [mutant for mutant, verdict in verdicts.items() if verdict == "survived"]
        survivors = [asdict(mutant) | {"shown": shown(mutant, sources[mutant.file])} for mutant in left]
        paths, drawn = [str(path) for path in options.paths], {"sample": options.sample, "seed": options.seed}
        score = {"paths": paths, **drawn, "mutants": valid, "killed": dead, "timeout": count["timeout"]}
        options.json.write_text(json.dumps({**score, "survivors": survivors}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

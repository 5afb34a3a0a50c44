"""The house of DESIGN §2: imports go down only, the lower floors are pure, the door is light."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import selfinstruct

PACKAGE = Path(selfinstruct.__file__).parent

# Every module's floor. A package's name stands for all its files.
FLOORS = {
    0: ("", "errors", "records"),
    1: (
        "accounts",
        "assets",
        "breaker",
        "budget",
        "config",
        "decontamination",
        "dedup",
        "demand",
        "desk",
        "detection",
        "embedded",
        "filters",
        "fleet",
        "formats",
        "judge",
        "languages",
        "novelty",
        "pacer",
        "pii",
        "plan",
        "prices",
        "profiles",
        "progress",
        "prompts",
        "rates",
        "ratelimits",
        "recipes",
        "sampler",
        "seeds",
        "throttle",
    ),
    2: ("exports", "history", "journal", "manifest", "providers", "reading", "spill", "staging"),
    3: ("batches", "commits", "generator", "routes", "sender", "turnstile"),
    4: (
        "cleaning",
        "display",
        "estimate",
        "exporting",
        "hub",
        "importing",
        "metrics",
        "pipeline",
        "run",
        "stats",
        "status",
        "train",
        "verify",
        "views",
    ),
    5: ("__main__", "cli"),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
PURE = (0, 1)
# `train` stands apart: it knows the rows' nouns and how to read them, and only the CLI knows it.
APART = {
    "train": {"errors", "records", "formats", "reading", "importing", "exporting"},
}
IMPURE_MODULES = frozenset(
    {
        "aiohttp", "asyncio", "fcntl", "httpx", "httpx2", "logging", "multiprocessing", "openai",
        "os", "requests", "secrets", "select", "signal", "socket", "ssl", "subprocess", "tempfile",
        "tenacity", "threading", "time", "urllib.request",
    }
)  # fmt: skip
# Reading is for the module that gathers a run's inputs, and for nobody else down there.
READERS = {"plan"}
IMPURE_METHODS = frozenset(
    {
        "mkdir", "open", "rename", "rmdir", "touch", "unlink", "write_bytes", "write_text",
        "now", "today", "utcnow",
    }
)  # fmt: skip
READING_METHODS = frozenset({"read_bytes", "read_text"})
GLOBAL_RANDOM = frozenset(
    {
        "betavariate", "choice", "choices", "gauss", "getrandbits", "randbytes", "randint",
        "random", "randrange", "sample", "seed", "shuffle", "uniform",
    }
)  # fmt: skip
HEAVY = ("numpy", "openai", "polars", "prometheus_client", "torch", "transformers")


def module_name(path: Path) -> str:
    """selfinstruct/recipes/alpaca.py → recipes.alpaca; the package's own __init__ → ""."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


FILES = {
    module_name(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_data" not in path.relative_to(PACKAGE).parts
}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_bytes(), str(FILES[name]))


def room(name: str) -> str:
    return name.partition(".")[0]


def floor(name: str) -> int:
    """The floor of a module; a new one without a floor fails, saying what to do."""
    if room(name) not in FLOOR_OF:
        pytest.fail(
            f"selfinstruct/{name.replace('.', '/')}.py has no floor: "
            f"enter {room(name)!r} in FLOORS of tests/test_house.py (DESIGN §2)"
        )
    return FLOOR_OF[room(name)]


def _inside(dotted: str) -> str:
    """The module of ours that an absolute import names: selfinstruct.x.Y → x or x.Y."""
    name = dotted.removeprefix("selfinstruct").removeprefix(".")
    while name not in FILES:
        name = name.rpartition(".")[0]
    return name


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that is imported anywhere in a module, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_imports(name: str) -> set[str]:
    found = {_inside(dotted) for dotted in imports_of(tree_of(name)) if room(dotted) == OURS}
    return found - {name}


OURS = "selfinstruct"


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_only(name: str) -> None:
    above = [other for other in our_imports(name) if floor(other) > floor(name)]
    assert not above, f"{name} (floor {floor(name)}) imports {above} from above"


@pytest.mark.parametrize("apart", APART)
def test_what_stands_apart_imports_little_and_is_imported_by_the_cli_alone(apart: str) -> None:
    for name in FILES:
        rooms = {room(other) for other in our_imports(name)} - {""}
        if room(name) == apart:
            assert rooms <= APART[apart] | {apart}, name
        else:
            assert apart not in rooms or room(name) == "cli", name


def test_no_import_cycle() -> None:
    order = graphlib.TopologicalSorter({name: our_imports(name) for name in FILES})
    # A CycleError shows the modules that import each other in a ring.
    assert len(tuple(order.static_order())) == len(FILES)


def test_every_floor_names_rooms_that_exist() -> None:
    rooms = {room(name) for name in FILES}
    assert set(FLOOR_OF) <= rooms, "FLOORS names modules that are gone"


def test_the_walk_sees_the_imports_that_are_there() -> None:
    assert our_imports("history") >= {"errors", "journal", "providers.answers", "records"}
    assert our_imports("recipes.alpaca") >= {"errors", "languages", "records", "sampler"}
    assert "pipeline" in our_imports("cli.making"), "an import inside a function counts too"


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_is(name: str) -> None:
    docstring = ast.get_docstring(tree_of(name))
    assert docstring
    assert docstring.strip()


@pytest.mark.parametrize("name", [name for name in FILES if FLOOR_OF.get(room(name), 9) in PURE])
def test_low_floors_are_pure(name: str) -> None:
    tree = tree_of(name)
    for dotted in imports_of(tree):
        parents = {dotted, dotted.rpartition(".")[0], room(dotted)}
        assert not parents & IMPURE_MODULES, f"{name} imports {dotted}"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{name} is async"
        if isinstance(node, ast.Call):
            problem = impure_call(node, may_read=name in READERS)
            assert not problem, f"{name}:{node.lineno} calls {problem}"


def impure_call(call: ast.Call, *, may_read: bool) -> str:
    """What a call does that a pure module does not do, "" for nothing."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id if function.id in ("open", "print", "input", "exec", "eval") else ""
    if not isinstance(function, ast.Attribute):
        return ""
    of_random = isinstance(function.value, ast.Name) and function.value.id == "random"
    if of_random and function.attr in GLOBAL_RANDOM:
        return f"random.{function.attr}"
    if function.attr in IMPURE_METHODS or (function.attr in READING_METHODS and not may_read):
        return f".{function.attr}"
    return ""


@pytest.mark.parametrize(
    "source",
    ["open('x', 'w')", "print(1)", "path.write_text('x')", "path.open()", "random.random()"],
)
def test_the_walk_sees_impure_calls(source: str) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert impure_call(call, may_read=True)


def test_reading_is_only_for_readers() -> None:
    call = ast.parse("path.read_bytes()", mode="eval").body
    assert isinstance(call, ast.Call)
    assert impure_call(call, may_read=False)
    assert not impure_call(call, may_read=True)


@pytest.mark.parametrize(
    "command",
    [
        "import selfinstruct",
        # The same door as the `selfinstruct` script and `python -m selfinstruct`.
        "import sys; sys.argv = ['selfinstruct', '--help']; import runpy\n"
        "try: runpy.run_module('selfinstruct', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code",
        "import sys; sys.argv = ['selfinstruct', 'generate', '--help']; import runpy\n"
        "try: runpy.run_module('selfinstruct', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code",
    ],
    ids=["import", "help", "generate-help"],
)
def test_the_door_is_light(command: str) -> None:
    report = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{command}\n{report}"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"
    if "help" in command:
        assert "Usage" in done.stdout


def test_help_by_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "selfinstruct", "--help"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "selfinstruct.cli" in loaded
    assert not loaded & set(HEAVY)
    assert "Exit codes" in done.stdout

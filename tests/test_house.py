"""The rules of the house: imports go downwards only, no circles, no file that is two ideas."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = [
    "metrics",
    "store",
    "data",
    "models",
    "machine",
    "engine",
    "setup evaluation",
    "record",
    "job reopen",
    "api certify surroundings",
    "entry",
    "report",
    "plotting",
    "cli",
]
"""Of roodbench: each may import what stands before it; rooms on one floor do not know each other."""
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms.split()}
EVERYWHERE = {"", "lazy", "words"}
"""The root, whose names are imported when they are asked for, what does that, and the words of messages."""
EXCEPTIONS = {("record", "setup.protocols")}
SOURCES = sorted(p for package in ("attacks", "detectors", "roodbench") for p in (ROOT / package).rglob("*.py"))


def module_of(file):
    """roodbench/data/images.py -> roodbench.data.images."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(source) for source in SOURCES}


@cache
def imports_of(file):
    """The project's modules that a file imports, at the top or in a function (annotations' imports do not run)."""
    here = module_of(file).split(".") if file.name == "__init__.py" else module_of(file).split(".")[:-1]
    tree = ast.parse(file.read_text())
    silent = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skipped = {id(child) for node in silent for child in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            parts = [*(here[: len(here) - node.level + 1] if node.level else []), *filter(None, [node.module])]
            names = [".".join([*parts, alias.name]) for alias in node.names]
            found |= {name if name in MODULES else ".".join(parts) for name in names} & MODULES
    return found


@pytest.mark.parametrize("file", SOURCES, ids=module_of)
def test_imports_go_downwards(file):
    package, _, inner = module_of(file).partition(".")
    room = inner.partition(".")[0]
    for name in imports_of(file):
        target, _, rest = name.partition(".")
        if package != "roodbench":
            assert target == package, f"{package} imports {name}"
        elif target == "roodbench":
            other = rest.partition(".")[0]
            if other == room or other in EVERYWHERE or (room, rest) in EXCEPTIONS:
                continue
            assert room not in EVERYWHERE | {"__main__"} or room == "__main__", f"the root imports {name}"
            assert room == "__main__" or FLOOR[other] < FLOOR[room], f"{room} imports {name}"


RECORDS = ("certificate", "claimed", "coherent", "result", "row", "stated", "table", "interval.claimed", "interval.row")
"""Of certify: what is made of records and certificates alone."""


def test_reports_are_drawn_from_records_alone():
    known = {f"roodbench.certify.{name}" for name in RECORDS}
    for file in (ROOT / "roodbench/report").rglob("*.py"):
        found = {name for name in imports_of(file) if name.split(".")[1:2] in (["api"], ["certify"], ["surroundings"])}
        assert found <= known, f"{file.name} imports {found - known}"


def test_no_circles():
    graph = {module_of(file): {n for n in imports_of(file) if n != module_of(file)} for file in SOURCES}
    faces = {module_of(file) for file in SOURCES if file.name == "__init__.py"}

    def reach(name, seen):
        for other in graph[name] - faces:
            if other not in seen:
                seen.add(other)
                reach(other, seen)
        return seen

    assert [name for name in graph if name in reach(name, set())] == []


@pytest.mark.parametrize("room", ["metrics", "detectors", "attacks"])
def test_the_lowest_rooms_import_little(room):
    known = {"attacks": {"torch"}, "detectors": {"torch", "numpy", "scipy"}, "metrics": {"numpy", "scipy", "sklearn"}}
    folder = ROOT / (room if room != "metrics" else "roodbench/metrics")
    standard = __import__("sys").stdlib_module_names
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level and node.module else []
            heads = {name.partition(".")[0] for name in names}
            assert heads <= known[room] | standard | {"typing_extensions"}, f"{file.name} imports {heads}"


@pytest.mark.parametrize("folder", ["attacks", "detectors", "roodbench", "benchmarks", "studies", "tests"])
def test_no_file_is_two_ideas(folder):
    long = {
        str(p.relative_to(ROOT)): n
        for p in (ROOT / folder).rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 300
    }
    assert long == {}


def test_no_test_imports_another():
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                assert not node.module.rpartition(".")[2].startswith("test_"), f"{file} imports {node.module}"

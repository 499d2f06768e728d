"""Every script beside the packages can be imported, says how it is called, and stands on its own."""

import ast
import importlib
import shutil
import subprocess
import sys

import pytest

from tests.collecting import ROOT, collected

FILES = [file for folder in ("benchmarks", "studies") for file in sorted((ROOT / folder).glob("*.py"))]
TIMED = [file for file in FILES if file.stem.startswith("test_")]
MODULES = [f"{file.parent.name}.{file.stem}" for file in FILES if file not in TIMED and file.stem != "__init__"]
HELPING = ("chart", "conftest", "later_mistakes", "loops", "mistakes", "peers", "plants", "setting")
SCRIPTS = [name for name in MODULES if name.split(".")[1] not in HELPING]  # the others are imported by these


def imports_of(file):
    """The packages that a file names in its import statements."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_every_study_and_benchmark_is_found():
    assert len(SCRIPTS) == 22
    assert {"studies.constant_step_transfer", "benchmarks.startup"} <= set(SCRIPTS)
    assert [file.stem for file in TIMED] == ["test_attack", "test_certify", "test_score", "test_step"]


@pytest.mark.parametrize("name", MODULES)
def test_modules_can_be_imported_and_do_nothing_then(name, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module(name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_the_usage_of_every_script(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(name).main(["--help"])
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"usage: python -m {name}" in said


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_run_only_when_they_are_called(name):
    last = ast.parse((ROOT / name.replace(".", "/")).with_suffix(".py").read_text()).body[-1]
    assert isinstance(last, ast.If)
    assert ast.unparse(last.test) == "__name__ == '__main__'"


def test_timed_files_are_collected():
    """pytest-benchmark need not be there; tests/benchmarks/test_ratios.py holds the ratios to their names."""
    names = collected(str(ROOT / "benchmarks"))
    for file in TIMED:
        assert any(name.startswith(f"benchmarks/{file.name}::test_ours") for name in names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}.{file.stem}")
def test_neither_folder_imports_the_other_nor_a_timed_file_a_test(file):
    other = {"benchmarks": "studies", "studies": "benchmarks"}[file.parent.name]
    for name in imports_of(file):
        assert name.split(".")[0] not in (other, "tests"), f"{file.name} imports {name}"
        assert not name.startswith(("benchmarks.test_", "benchmarks.conftest")), f"{file.name} imports {name}"


@pytest.mark.parametrize("script", ["benchmarks/gpu.sh", "studies/all_detectors.sh"])
def test_shell_scripts_say_their_usage_and_call_modules_that_exist(script):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    done = subprocess.run([bash, script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"usage: {script}" in done.stderr
    called = [words.split()[0] for words in (ROOT / script).read_text().split("python -m ")[1:]]
    assert called
    for name in called:
        assert name in (*SCRIPTS, "pytest", "roodbench")

"""What ``python -m mockrelay.compiled`` names can be compiled, and runs only where it was made from these sources."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mockrelay import compiled
from zentalk_sim.compiled import SWITCH, cache

ROOTS = {package.name: package for package in compiled.FORM.packages}
PRINT_ACTIVE = "import mockrelay.cli\nfrom mockrelay import compiled\nprint(compiled.activate())"


def source_of(name: str) -> Path:
    root, _, rest = name.partition(".")
    return ROOTS[root] / f"{rest.replace('.', '/')}.py"


def test_every_module_named_exists_and_defines_no_struct() -> None:
    """mypyc would make of a msgspec Struct a class that msgspec does not know."""
    for name in compiled.MODULES:
        assert "(Struct" not in source_of(name).read_text(encoding="utf-8"), name


def test_a_class_that_extends_a_compiled_one_must_be_compiled_too() -> None:
    """Interpreted code cannot extend mypyc's classes: ``serve`` would end with the import of such a module."""
    classes: dict[str, list[tuple[str, list[str]]]] = {}
    for package in (ROOTS["mockrelay"], ROOTS["zentalk_sim"] / "protocol", ROOTS["zentalk_sim"] / "trace"):
        for path in sorted(package.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            name = ".".join((package.parent / path).relative_to(ROOTS["mockrelay"].parent).with_suffix("").parts)
            classes[name] = [
                (node.name, [base.id for base in node.bases if isinstance(base, ast.Name)])
                for node in tree.body
                if isinstance(node, ast.ClassDef)
            ]
    native = {name for module in compiled.MODULES for name, _ in classes[module]}
    assert "Driver" in native
    for module, found in classes.items():
        if module not in compiled.MODULES:
            for name, bases in found:
                assert native.isdisjoint(bases), f"{module}.{name}: add {module} to compiled.MODULES"


def test_serve_must_look_for_compiled_modules_before_it_reads_its_flags(tmp_path: Path) -> None:
    """A flag's check, or the file of settings, may import what is compiled; afterwards it would be too late."""
    settings = tmp_path / "relay.json"
    settings.write_text('{"users": ["alice"], "config": {"integrity": "require"}}')
    code = (
        "import sys\nfrom mockrelay import compiled\n"
        "compiled.activate = lambda: print([name for name in compiled.MODULES if name in sys.modules])\n"
        f"sys.argv = ['mockrelay', 'serve', '--config', {str(settings)!r}, '--clock', 'frozen', '--port', '1',"
        " '--http-port', '1']\n"
        "from mockrelay.cli import main\nmain()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "[]"
    assert "give them different ports" in found.stderr


@pytest.mark.parametrize(
    ("name", "switch", "is_active"),
    [("", "1", True), ("", "0", False), ("relay-000000000000000000000000", "1", False)],
    ids=["these sources", "switched off", "other sources"],
)
def test_serve_must_take_what_was_compiled_from_these_sources_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, switch: str, is_active: bool
) -> None:
    """Nothing that the command line imports before may be among the modules."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache() / (name or compiled.FORM.folder().name)
    folder.mkdir(parents=True)
    (folder / "complete").touch()
    command = [sys.executable, "-c", PRINT_ACTIVE]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, SWITCH: switch})
    assert found.stdout.strip() == str(is_active)

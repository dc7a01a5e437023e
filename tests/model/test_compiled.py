"""Compiled modules stand in for the sources only where they were made from these very sources."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mockrelay import compiled as relay_compiled
from tests.model.native_queue import native_calendar
from zentalk_sim.compiled import CompiledForm
from zentalk_sim.model import compiled

PRINT_CALENDAR = (
    "from zentalk_sim.model import compiled; compiled.activate()\n"
    "from zentalk_sim.model.kernel import Kernel\n"
    "print(type(Kernel(0).calendar).__name__)"
)
MILLION = Path(__file__).parents[2] / "experiments" / "million.yaml"
PRINT_ACTIVE = "from zentalk_sim.model import compiled; print(compiled.activate())"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(compiled.SWITCH, raising=False)


def complete(name: str) -> None:
    """A folder as ``build`` leaves it, but empty."""
    folder = compiled.cache() / name
    folder.mkdir(parents=True)
    (folder / "complete").touch()


def printed(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return found.stdout.strip()


def active(code: str = PRINT_ACTIVE, **environment: str) -> bool:
    """Whether a fresh process would run compiled modules."""
    return printed(code, **environment) == "True"


def test_without_a_compiled_form_the_sources_run() -> None:
    assert not active()


def test_the_compiled_form_of_these_sources_is_used_unless_switched_off() -> None:
    complete(compiled.folder().name)
    assert active()
    assert not active(**{compiled.SWITCH: "0"})


def test_the_compiled_form_of_other_sources_must_not_be_used() -> None:
    complete("compiled-000000000000000000000000")
    assert not active()


def test_an_unfinished_compilation_must_not_be_used() -> None:
    compiled.folder().mkdir(parents=True)
    assert not active()


def test_the_queue_in_c_can_be_built_alone_and_sources_run_on_it_unless_switched_off() -> None:
    assert printed(PRINT_CALENDAR) == "Calendar"
    if native_calendar() is None:
        # No compiler, or nothing that it could compile against: that is said, and nothing changes.
        with pytest.raises(compiled.CannotCompile):
            compiled.QUEUE_FORM.build()
        assert printed(PRINT_CALENDAR) == "Calendar"
        return
    compiled.QUEUE_FORM.build()
    assert not active()
    assert printed(PRINT_CALENDAR) == "NativeCalendar"
    assert printed(PRINT_CALENDAR, **{compiled.SWITCH: "0"}) == "Calendar"


def test_compiled_and_interpreted_modules_must_not_be_mixed() -> None:
    complete(compiled.folder().name)
    assert not active("import zentalk_sim.protocol.relay; " + PRINT_ACTIVE)


def test_zsim_run_must_ask_for_the_compiled_form_before_it_imports_any_of_its_modules(tmp_path: Path) -> None:
    code = (
        "import sys; from zentalk_sim.model import compiled\n"
        "compiled.activate = lambda: print(sorted({*compiled.FORM.modules} & {*sys.modules}))\n"
        "from zentalk_sim.cli import main\n"
        f"main(['run', {str(MILLION)!r}, '-S', 'population.devices=2', '-S', 'relay.nodes=2', '-S', 'faults=[]',"
        f" '-S', 'thresholds={{}}', '-S', 'duration=50s', '--no-plots', '--out', {str(tmp_path / 'run')!r}])"
    )
    assert printed(code).splitlines()[0] == "[]"


def test_a_run_with_a_full_trace_must_go_back_to_the_sources() -> None:
    complete(compiled.folder().name)
    code = (
        "import sys; from zentalk_sim.model import compiled; before = list(sys.meta_path)\n"
        "print(compiled.activate()); compiled.withdraw(); print(sys.meta_path == before)"
    )
    assert printed(code).split() == ["True", "True"]


def test_every_module_named_exists_and_defines_no_struct() -> None:
    """mypyc would make of a msgspec Struct a class that msgspec does not know."""
    for name in compiled.MODULES:
        source = (compiled.PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert "(Struct" not in source, name


def test_without_a_c_compiler_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(compiled.CannotCompile, match="no C compiler"):
        compiled.build()


def test_a_class_that_extends_a_compiled_one_must_be_compiled_too() -> None:
    """Interpreted code cannot extend mypyc's classes: a run would end with the import of such a module.

    Those of ``experiment`` that extend one belong to commands that run from sources; its compiled ones none extends.
    """
    classes: dict[str, list[tuple[str, list[str]]]] = {}
    for room in ("protocol", "network", "model", "report", "trace"):
        for path in sorted((compiled.PACKAGE / room).glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            classes[f"{room}.{path.stem}"] = [
                (node.name, [base.id for base in node.bases if isinstance(base, ast.Name)])
                for node in tree.body
                if isinstance(node, ast.ClassDef)
            ]
    native = {name for module in compiled.MODULES for name, _ in classes.get(module, ())}
    for module, found in classes.items():
        if module not in compiled.MODULES:
            for name, bases in found:
                assert native.isdisjoint(bases), f"{module}.{name}: add {module} to compiled.MODULES"


def declared(node: ast.ClassDef) -> set[str]:
    """The attributes whose types a class states, in its body or where it assigns them; not the class's own values."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.AnnAssign) and "ClassVar" not in ast.dump(part.annotation):
            target = part.target
            if isinstance(target, ast.Name) and part in node.body:
                found.add(target.id)
            elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                found.add(target.attr)
    return found


@pytest.mark.parametrize("form", [compiled.FORM, relay_compiled.FORM], ids=lambda form: str(form.name))
def test_a_class_must_not_declare_an_attribute_that_one_it_extends_declares(form: CompiledForm) -> None:
    """Of such an attribute mypyc tells the cyclic collector twice, which then takes it for held from elsewhere.

    It would keep what the attribute holds, and all that this leads to, for good: every world ever run.
    """
    classes: dict[str, tuple[set[str], list[str]]] = {}
    for name in form.modules:
        tree = ast.parse((compiled.PACKAGE.parent / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = declared(node), [base.id for base in node.bases if isinstance(base, ast.Name)]

    def extended(name: str) -> set[str]:
        bases = [base for base in classes[name][1] if base in classes]
        return {*bases, *(further for base in bases for further in extended(base))}

    assert any(extended(name) for name in classes)
    for name, (attributes, _) in classes.items():
        for base in sorted(extended(name)):
            twice = attributes & classes[base][0]
            assert not twice, f"{name}: {', '.join(sorted(twice))} stand in {base}; assign them without a type"


def test_a_form_that_another_process_has_built_meanwhile_must_stay_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That process may run from it by now, and import of it what it has not imported yet."""
    form = CompiledForm("raced", (compiled.PACKAGE / "compiled.py",), ())

    def both_compile(work: Path) -> None:
        (work / "made").mkdir()
        form.folder().mkdir(parents=True)
        (form.folder() / "theirs.so").touch()
        (form.folder() / "complete").touch()

    monkeypatch.setattr(form, "_compile", both_compile)
    monkeypatch.setenv("CC", sys.executable)
    assert form.build() == form.folder()
    assert (form.folder() / "theirs.so").exists()
    assert [path.name for path in compiled.cache().iterdir()] == [form.folder().name]

"""The shape of the package: rooms of a dozen files, and no two files that import each other."""

import ast
from pathlib import Path

import sdperf

PACKAGE = Path(sdperf.__file__).parent
MOST_FILES = 14


def name_module(path, package):
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(package):
    """Return what each module of a package imports of it, when it is itself imported."""
    modules = {name_module(path, package): path for path in package.rglob("*.py")}
    found = {}
    for name, path in modules.items():
        imported = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    imported.add(whole if whole in modules else node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        found[name] = {other for other in imported if other in modules and other != name}
    return found


def find_circle(imports):
    """Return modules that import each other in a circle; none where there is no circle."""
    finished = set()

    def follow(name, trail):
        if name in trail:
            return trail[trail.index(name) :]
        if name in finished:
            return []
        for other in sorted(imports[name]):
            if circle := follow(other, [*trail, name]):
                return circle
        finished.add(name)
        return []

    return next((circle for name in sorted(imports) if (circle := follow(name, []))), [])


def count_files(package):
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    counts = {folder: list(folder.glob("*.py")) for folder in folders}
    return {
        folder: len([path for path in files if path.name != "__init__.py"])
        for folder, files in counts.items()
    }


def test_no_files_import_each_other_in_a_circle():
    assert find_circle(read_imports(PACKAGE)) == []


def test_a_room_has_about_a_dozen_files():
    crowded = {str(folder): n for folder, n in count_files(PACKAGE).items() if n > MOST_FILES}
    assert crowded == {}


def test_the_rules_can_fail(tmp_path):
    package = tmp_path / "planted"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from planted.b import x\n")
    (package / "b.py").write_text("import planted.a\n")
    assert find_circle(read_imports(package)) == ["planted.a", "planted.b"]
    assert count_files(package)[package] == 2

"""What the source says about its structure, found without importing it.

``check_file`` gives one sentence for each rule that a file breaks. The rules (docs/development.md has them in
prose) are the tables below; tests/unit/test_layering.py holds the tree to them.
"""

import ast
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

__all__ = ["DOM0_LAYERS", "MAX_FILE_LINES", "MAX_FUNCTION_LINES", "Import", "check_file", "find_imports"]

#: layer: the layers that it may import, itself included
LAYERS: Dict[str, Set[str]] = {
    "errors": {"errors"},
    "evidence": {"evidence", "errors"},
    "tpm": {"tpm", "evidence", "errors"},
    "host": {"host", "tpm", "evidence", "errors"},
    "verifier": {"verifier", "evidence", "errors"},
    "simulator": {"simulator", "evidence", "errors"},
    "plugins": {"host", "errors"},
}
DOM0_LAYERS = frozenset({"errors", "evidence", "tpm", "host", "plugins"})
#: layer of dom0: what it may use that is not in Python's standard library
THIRD_PARTY: Dict[str, Set[str]] = {
    "tpm": {"tpm2_pytss", "cffi", "_cffi_backend"},
    "host": {"XenAPIPlugin"},
    "plugins": {"XenAPIPlugin"},
}
#: slow to import, so never when a module of dom0 is loaded: the plugin is a new process for every call
SLOW = frozenset(
    "argparse asyncio cryptography dataclasses datetime email http inspect logging multiprocessing pathlib"
    " shutil socket subprocess tempfile tpm2_pytss unittest urllib xml.dom xml.etree xml.sax xmlrpc"
    " XenAPIPlugin".split()
)
#: files that only people start, where nobody waits for milliseconds: file: what it may import at once
SLOW_ALLOWED: Dict[str, Set[str]] = {
    "xentpm_lib/host/cli.py": {"argparse"},
    "xentpm_lib/host/boot/cli.py": {"argparse"},
}
#: what no module does while it is imported; a trailing dot means everything below
FORBIDDEN_AT_IMPORT = (
    "open",
    "input",
    "io.open",
    "os.environ",
    "os.getenv",
    "os.open",
    "os.listdir",
    "os.stat",
    "os.getcwd",
    "os.getpid",
    "os.getuid",
    "os.geteuid",
    "os.uname",
    "os.path.exists",
    "os.path.isfile",
    "os.path.isdir",
    "time.",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "random.",
    "secrets.",
    "socket.",
    "subprocess.",
    "platform.",
    "logging.basicConfig",
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_PLUGIN_LINES = 60
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Import(NamedTuple):
    """One import: the full name of what is imported, None where the source does not say."""

    line: int
    name: Optional[str]
    at_import: bool


def _layer(path: str) -> str:
    parts = path.split("/")
    if parts[0] == "plugins":
        return "plugins"
    return parts[1].rsplit(".", 1)[0] if len(parts) > 1 else ""


def _package(path: str) -> List[str]:
    """The package that a relative import of this file starts from."""
    return path.split("/")[:-1]


def _is_guard(node: ast.AST) -> bool:
    """``if TYPE_CHECKING:`` and ``if __name__ == "__main__":``, which do not run at import."""
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id in ("TYPE_CHECKING", "__name__")
        for part in ast.walk(node.test)
    )


def _walk(node: ast.AST, at_import: bool = True) -> Iterator[Tuple[ast.AST, bool]]:
    """Every node, and whether it is evaluated when the module is imported."""
    yield node, at_import
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        body = node.body if isinstance(node.body, list) else [node.body]
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, at_import and child not in body)
    elif isinstance(node, ast.If) and _is_guard(node):
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, at_import and child not in node.body)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, at_import)


def _from_names(node: ast.ImportFrom, path: str) -> List[str]:
    """``from a import b`` may import the module a.b: both are told as one name, a.b."""
    base = node.module.split(".") if node.module else []
    if node.level:
        package = _package(path)
        base = package[: len(package) - node.level + 1] + base
    return [".".join([*base, alias.name]) for alias in node.names]


def _dynamic(node: ast.Call, aliases: Dict[str, str]) -> bool:
    return _dotted(node.func, aliases) in ("importlib.import_module", "__import__", "importlib.__import__")


def _constants(tree: ast.Module) -> Dict[str, str]:
    """The module's names for strings: ``_PACKAGE = "tpm2_pytss"``."""
    found: Dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    found[target.id] = node.value.value
    return found


def _argument(node: ast.Call, path: str, constants: Dict[str, str]) -> Optional[str]:
    value = node.args[0] if node.args else None
    text = constants.get(value.id) if isinstance(value, ast.Name) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        text = value.value
    if text is not None and text.startswith("."):
        level = len(text) - len(text.lstrip("."))
        package = _package(path)
        text = ".".join([*package[: len(package) - level + 1], text.lstrip(".")])
    return text


def find_imports(tree: ast.Module, path: str) -> List[Import]:
    """Every import of a file, in functions too, relative ones and ``importlib.import_module`` resolved."""
    aliases, constants = _aliases(tree), _constants(tree)
    found: List[Import] = []
    for node, at_import in _walk(tree):
        names: List[Optional[str]] = []
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.extend(_from_names(node, path))
        elif isinstance(node, ast.Call) and _dynamic(node, aliases):
            names.append(_argument(node, path, constants))
        found.extend(Import(getattr(node, "lineno", 0), name, at_import) for name in names)
    return found


def _aliases(tree: ast.Module) -> Dict[str, str]:
    """Local name: what it stands for, of everything that the file imports from outside."""
    found: Dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else (alias.name.split(".")[0])
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = "{}.{}".format(node.module, alias.name)
    return found


def _dotted(node: ast.AST, aliases: Dict[str, str]) -> str:
    """``os.path.exists`` of the expression that means it, whatever it was imported as; else empty."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, aliases)
        return "{}.{}".format(base, node.attr) if base else ""
    return ""


def _forbidden(name: str) -> bool:
    return any(name.startswith(rule) if rule.endswith(".") else name == rule for rule in FORBIDDEN_AT_IMPORT)


def _check_import(one: Import, path: str) -> Iterator[str]:
    layer, name = _layer(path), one.name
    where = "{}:{}: ".format(path, one.line)
    if name is None:
        yield where + "imports a module whose name only the running program knows"
        return
    top, _, rest = name.partition(".")
    if top == "xentpm_lib":
        target = rest.split(".")[0]
        if layer in LAYERS and target in LAYERS and target not in LAYERS[layer]:
            yield where + "{} must not import {}".format(layer, target)
    elif layer in DOM0_LAYERS:
        if top not in sys.stdlib_module_names and top not in THIRD_PARTY.get(layer, set()):
            yield where + "{} must not use {}, which is not in the standard library".format(layer, top)
        slow = {rule for rule in SLOW - SLOW_ALLOWED.get(path, set()) if (name + ".").startswith(rule + ".")}
        if one.at_import and slow:
            yield where + "{} is slow to import: import it where it is used".format(slow.pop())


def _check_calls(tree: ast.Module, path: str) -> Iterator[str]:
    aliases = _aliases(tree)
    for node, at_import in _walk(tree):
        name = ""
        if isinstance(node, ast.Call):
            name = _dotted(node.func, aliases)
        elif isinstance(node, (ast.Attribute, ast.Name)) and _dotted(node, aliases) == "os.environ":
            name = "os.environ"
        if at_import and name and _forbidden(name):
            yield "{}:{}: uses {} while it is imported".format(path, node.lineno, name)  # type: ignore[attr-defined]


def _check_sizes(tree: ast.Module, source: str, path: str) -> Iterator[str]:
    lines = source.count("\n")
    limit = MAX_PLUGIN_LINES if _layer(path) == "plugins" else MAX_FILE_LINES
    if lines > limit:
        yield "{}: {} lines, at most {}".format(path, lines, limit)
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                text = "{}:{}: {} has {} lines, at most {}"
                yield text.format(path, node.lineno, node.name, length, MAX_FUNCTION_LINES)


def _check_floor(tree: ast.Module, source: str, path: str) -> Iterator[str]:
    """Python 3.6: as far as the running Python can tell; ``make check`` asks a real one too."""
    try:
        ast.parse(source, feature_version=(3, 6))
    except SyntaxError as error:
        yield "{}:{}: not Python 3.6: {}".format(path, error.lineno, error.msg)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            if any(alias.name == "annotations" for alias in node.names):
                yield "{}:{}: not Python 3.6: from __future__ import annotations".format(path, node.lineno)


def check_file(source: str, path: str, floor: bool = False) -> List[str]:
    """What is wrong with a file. ``path`` is from the root of the tree; ``floor``: it has to be 3.6."""
    tree = ast.parse(source)
    found = [text for one in find_imports(tree, path) for text in _check_import(one, path)]
    found.extend(_check_calls(tree, path))
    found.extend(_check_sizes(tree, source, path))
    if floor or _layer(path) in DOM0_LAYERS:
        found.extend(_check_floor(tree, source, path))
    return found

# SPDX-License-Identifier: Apache-2.0
"""The sentences of the program's errors, as the source writes them, and their part of docs/troubleshooting.md.

python -m tests.error_sentences      writes that part anew

A sentence that ends with its cure needs nothing more; the cures of the others are in docs/error-cures.yaml.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
CURES = ROOT / "docs" / "error-cures.yaml"
MARKER = "<!-- From here on made by `python -m tests.error_sentences`. -->"
PACKAGES = ("tf_crossdistil", "pipelines", "serving")
# What is not known before the program runs.
GAP = "…"
_MOST_READINGS = 8
_DEEPEST = 3
_NEAREST: dict[str, list[ast.expr]] = {"did_you_mean()": [ast.Constant(f"did you mean '{GAP}'?")]}

# Where a sentence appears, by the beginning of its file's path: the first that fits.
ROOMS = {
    "tf_crossdistil/config": "The configuration, in every command that reads one",
    "tf_crossdistil/plugins": "The configuration, in every command that reads one",
    "tf_crossdistil/backbones": "Your own parts and the network: train, tune, compare",
    "tf_crossdistil/calibrators": "Your own parts and the network: train, tune, compare",
    "tf_crossdistil/layers": "Your own parts and the network: train, tune, compare",
    "tf_crossdistil/losses": "Your own parts and the network: train, tune, compare",
    "tf_crossdistil/models/methods": "Your own parts and the network: train, tune, compare",
    "tf_crossdistil/training": "crossdistil train",
    "tf_crossdistil/models": "Runs and checkpoints: train, evaluate, export, compare",
    "tf_crossdistil/data": "Prepared data: train, evaluate, compare, export, inspect, skew",
    "tf_crossdistil/schema": "Prepared data: train, evaluate, compare, export, inspect, skew",
    "tf_crossdistil/tuning": "crossdistil tune",
    "tf_crossdistil/cli/tune": "crossdistil tune",
    "tf_crossdistil/comparison": "crossdistil compare",
    "tf_crossdistil/evaluation": "crossdistil evaluate",
    "tf_crossdistil/cli/compare": "crossdistil compare and evaluate",
    "tf_crossdistil/cli/model": "crossdistil compare and evaluate",
    "tf_crossdistil/export": "crossdistil export",
    "tf_crossdistil/skew": "crossdistil skew",
    "tf_crossdistil/cli/skew": "crossdistil skew",
    "tf_crossdistil/cli/load_test": "crossdistil load-test",
    "serving/load_test": "crossdistil load-test",
    "tf_crossdistil/demo": "crossdistil demo",
    "pipelines/synthetic": "crossdistil generate",
    "pipelines/negatives": "python -m pipelines.negatives",
    "pipelines/inspection": "crossdistil inspect",
    "pipelines/sources": "crossdistil prepare: reading logs and tables",
    "pipelines": "crossdistil prepare",
    "serving/local_server": "crossdistil serve",
    "serving": "crossdistil predict and the Python client",
    "tf_crossdistil": "Every command",
}
# Words that a cure begins with.
_MENDS = re.compile(
    r"(ask|build|check|choose|close|copy|did you mean|double|export|free|give|go on|have|install|is it|is the|leave|list|lower|"
    r"make|mend|name|please|prepare|put|raise|remove|rename|restart|restore|resume|run|see|send|set|start|subtract|take|tell|"
    r"the same command|this is a fault|train|try|unset|use|wait|write)\b",
    re.IGNORECASE,
)

Names = Mapping[str, list[ast.expr]]


@cache
def sentences() -> dict[str, set[str]]:
    """The sentences of all errors by the room where they appear."""
    texts = {path: path.read_text(encoding="utf-8") for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    modules = {path: ast.parse(text) for path, text in texts.items() if "Error" in text}
    errors = _error_classes(modules.values())
    composing = _composing_classes(modules.values(), errors)
    composed = {node for class_ in composing.values() for node in ast.walk(class_)}
    found: dict[str, set[str]] = defaultdict(set)
    for path, module in modules.items():
        file = path.relative_to(ROOT).as_posix()
        made_of_a_sentence = errors - composing.keys() | (
            {"ValueError"} if file.startswith("tf_crossdistil/config/") else set()
        )
        for text in _Module(module, made_of_a_sentence, composed).sentences():
            found[_room(file)].add(text)
    return found


def _room(file: str) -> str:
    return next(room for start, room in ROOMS.items() if file.startswith(start))


def _error_classes(modules: Iterable[ast.Module]) -> set[str]:
    """The names of the classes whose errors the command line shows as a sentence."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for module in modules
        for node in module.body
        if isinstance(node, ast.ClassDef)
    }
    errors = {"CrossDistilError"}
    while more := {name for name, of in bases.items() if of & errors} - errors:
        errors |= more
    return errors


def _composing_classes(modules: Iterable[ast.Module], errors: set[str]) -> dict[str, ast.ClassDef]:
    """The errors that make their sentence themselves, of what they are given."""
    classes = (node for module in modules for node in module.body if isinstance(node, ast.ClassDef) and node.name in errors)
    return {node.name: node for node in classes if "super().__init__(f" in ast.unparse(node)}


class _Module:
    """The sentences of one file: the first argument of every error that is made in it.

    Args:
        module: the file.
        errors: the errors that are made of a sentence.
        composed: what stands in the classes of errors that make it themselves.
    """

    def __init__(self, module: ast.Module, errors: set[str], composed: set[ast.AST]):
        self._errors, self._composed = errors, composed
        nodes = list(ast.walk(module))
        self._functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        self._calls = [node for node in nodes if isinstance(node, ast.Call)]
        self._constants = {**_assigned(module.body), **_returned(self._functions), **_NEAREST}

    def sentences(self) -> Iterator[str]:
        """Each sentence, and once for each call of a function that makes it from a text it is given."""
        for function in self._functions:
            nodes = list(ast.walk(function))
            made = [node for node in nodes if isinstance(node, ast.Call) and node.args and self._makes_error(node)]
            names = {**self._constants, **_assigned(nodes)} if made else {}
            for call in made:
                for given in self._given(function) or [{}]:
                    yield from (text for text in _readings(call.args[0], {**names, **given}) if re.search("[a-z]", text))

    def _makes_error(self, call: ast.Call) -> bool:
        return call in self._composed if _called(call) == "__init__" else _called(call) in self._errors

    def _given(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[Names]:
        """What the calls in the same file give for a function's parameters, where it is a text."""
        if function.name == "__init__":
            return []
        names = [argument.arg for argument in function.args.args if argument.arg not in ("self", "cls")]
        texts: list[dict[str, list[ast.expr]]] = []
        for call in self._calls:
            if _called(call) == function.name:
                arguments = dict(zip(names, call.args, strict=False)) | {
                    word.arg: word.value for word in call.keywords if word.arg
                }
                texts.append({name: [value] for name, value in arguments.items() if isinstance(value, _TEXTS)})
        return [text for text in texts if text]


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


_TEXTS = (ast.Constant, ast.JoinedStr, ast.IfExp)


def _all_texts(values: Iterable[ast.expr | None]) -> list[ast.expr]:
    """The expressions, where all of them are written as texts; otherwise none."""
    found = list(values)
    texts: list[ast.expr] = [value for value in found if isinstance(value, _TEXTS)]
    return texts if len(texts) == len(found) else []


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """What names are set to, where that is written as a text."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id].append(node.value)
    return {name: texts for name, values in found.items() if (texts := _all_texts(values))}


def _returned(functions: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """What functions give back, where that is written as a text; called so, with brackets."""
    values = {
        f"{function.name}()": [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
        for function in functions
        if isinstance(function, ast.FunctionDef)
    }
    return {name: texts for name, found in values.items() if (texts := _all_texts(found))}


def _readings(node: ast.expr, names: Names, depth: int = 0) -> list[str]:
    """The texts that an expression may be, with a gap for what only a run knows."""
    if isinstance(node, ast.FormattedValue):
        node = node.value
    if isinstance(node, ast.JoinedStr):
        return _joined([_readings(part, names, depth) for part in node.values])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([_readings(part, names, depth) for part in (node.left, node.right)])
    if isinstance(node, ast.IfExp):
        return [text for part in (node.body, node.orelse) for text in _readings(part, names, depth)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    name = node.id if isinstance(node, ast.Name) else f"{_called(node)}()" if isinstance(node, ast.Call) else ""
    known = names.get(name, []) if depth < _DEEPEST else []
    return [text for value in known for text in _readings(value, names, depth + 1)] or [GAP]


def _joined(parts: list[list[str]]) -> list[str]:
    texts = ("".join(texts) for texts in product(*parts))
    return [re.sub(f"{GAP}+", GAP, text) for text, _ in zip(texts, range(_MOST_READINGS), strict=False)]


def cure_within(sentence: str) -> str | None:
    """The clauses of a sentence that say what to do, with what follows them; None where none does."""
    begins = [0, *(match.end() for match in re.finditer("[;:.] ", sentence))]
    mends = [begin for begin in begins if _MENDS.match(sentence, begin)]
    while len(mends) > 1 and begins[begins.index(mends[-1]) - 1] == mends[-2]:
        mends.pop()
    return sentence[mends[-1] :] if mends else None


def written_cures() -> dict[str, str]:
    """The cures of sentences that do not say them."""
    return dict(yaml.safe_load(CURES.read_text(encoding="utf-8")))


def page_part() -> str:
    """The tables of all sentences with their cures, a room each."""
    cures = written_cures()
    by_room = sentences()
    parts = [MARKER]
    for room in dict.fromkeys(ROOMS.values()):
        parts.append(f"\n### {room}\n\n| it says | what to do |\n| --- | --- |")
        for text in sorted(by_room[room], key=lambda text: (text.strip(f"{GAP}:'- ").lower(), text)):
            cure = cures.get(text) or _named(cure_within(text)) or "?"
            parts.append(f"| {_cell(text)} | {_cell(cure[0].upper() + cure[1:].rstrip('.'))} |")
    return "\n".join(parts) + "\n"


def _named(cure: str | None) -> str | None:
    """A cure, as what to do where it asks whether a name was meant."""
    return cure and re.sub(r"^did you mean \S+\?", "write the name that the sentence proposes", cure)


def _cell(text: str) -> str:
    """A text as a cell of a table, with what stands between backquotes as code."""
    parts = " ".join(text.split()).replace("|", r"\|").split("`")
    return "`".join(part if number % 2 else re.sub(r"([*<_])", r"\\\1", part) for number, part in enumerate(parts))


def page() -> str:
    """The page with its tables as the source has them now."""
    return PAGE.read_text(encoding="utf-8").split(MARKER)[0] + page_part()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""A module imports only from lower layers, and each library has its own room."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "latentode"

# Lower layers first. A module may import from its own layer's other modules and from those before it.
LAYERS = [
    {"_version", "_checks", "_warnings", "archive", "printing"},
    {
        "series",
        "nn",
        "gru",
        "sampling",
        "cuts",
        "hiding",
        "mixtures",
        "noise",
        "calibration",
        "metrics",
        "baselines",
    },
    {"solve"},
    {"frames", "encoders", "dynamics", "likelihoods", "residual", "stacking"},
    {"expectation_propagation"},
    {"model"},
    {"continuity"},
    {"elbo"},
    {
        "spans",
        "inference",
        "solver_report",
        "evaluation",
    },
    {"training"},
    {"fitting"},
    {"persistence", "answers", "summary"},
    {"estimator"},
]
# Beside the layers: what each may import of the package. The command line stands above them all.
APART = {
    "cli": {"estimator", "diagnosis", "plotting", "frames", "demo"},
    "demo": {"datasets"},
    "__main__": {"cli"},
    "plotting": {"frames"},
    "diagnosis": {"fitting", "frames", "printing", "series"},
    "datasets": set(),
    "__init__": None,
}

ROOMS = {
    "torchdiffeq": {"solve"},
    "pandas": {
        "frames",
        "evaluation",
        "summary",
        "estimator",
        "plotting",
        "datasets",
        "diagnosis",
        "cli",
        "demo",
    },
    "sklearn": {"estimator", "plotting", "demo"},
    "matplotlib": {"plotting", "cli"},
    "tqdm": {"evaluation", "fitting"},
    "narwhals": {"frames"},
    "pyarrow": {"frames"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module if node.module != "latentode" else f"latentode.{node.names[0].name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_in_their_layer(path):
    here = room(path)
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    assert here in level or here in APART, f"{here} has no layer; give it one above"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top in ROOMS:
            assert here in ROOMS[top], f"{path.name} imports {top}"
        if top == "torch":
            assert here not in APART or here in ("__init__", "cli"), f"{path.name} imports torch"
        if top != "latentode" or here == "__init__":
            continue
        other = rest.split(".")[0]
        if other == here:
            continue
        if here in APART:
            assert other in APART[here] | {"_checks", "_version"}, f"{here} imports {other}"
        else:
            assert level[other] <= level[here], f"{here} imports {other}, which lies above it"


def test_no_file_imports_itself_by_way_of_others():
    # Within a room too; a room's __init__ only gathers names.
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES}
    reads = {name: [other for other in imports(path) if other in modules] for name, path in modules.items()}
    order = list(TopologicalSorter(reads).static_order())
    assert set(order) == set(modules)

"""Our own source: nothing in it runs, unpickles or unpacks what it reads.

The code is parsed, so that comments and strings do not count, and neither does `model.eval()`.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED_NAMES = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "instantiate",
    "import_module",
    "get_class",
    "get_method",
}
BANNED_ATTRIBUTES = {
    "instantiate",
    "import_module",
    "extractall",
    "unpack_archive",
    "unsafe_load",
    "full_load",
}
BANNED_ATTRIBUTES |= {
    "extract",
    "system",
    "popen",
    "spec_from_file_location",
    "run_path",
    "run_module",
}
BANNED_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "importlib",
    "runpy",
}
BANNED_MODULES |= {"tarfile", "zipfile", "hydra.utils", "jsonpickle"}
# the one file of a zip is read where it is; nothing is unpacked
ALLOWED = {"data/opened.py": {"zipfile"}}
ROOMS = ("tinyreason", "data", "eval", "conf")
FILES = [
    ROOT / "train.py",
    *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))),
]


def complaints(source: str) -> list[str]:
    """What in Python source could run, unpickle or unpack what it reads.

    Comments and strings do not count.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if is_banned(name.name)]
        elif isinstance(node, ast.ImportFrom):
            names = {name.name for name in node.names} & BANNED_NAMES
            found += [f"from {node.module} import {name}" for name in names]
            found += [f"from {node.module}"] * is_banned(node.module or "")
        elif isinstance(node, ast.Call):
            found += complaint_about_call(node)
    return found


def is_banned(module: str) -> bool:
    return any(module == banned or module.startswith(f"{banned}.") for banned in BANNED_MODULES)


def complaint_about_call(call: ast.Call) -> list[str]:
    keywords = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    text = ast.unparse(call.func)
    found = [f"{key}=True" for key in ("allow_pickle", "trust_remote_code") if keywords.get(key)]
    if isinstance(call.func, ast.Name) and call.func.id in BANNED_NAMES:
        found.append(text)
    if isinstance(call.func, ast.Attribute) and call.func.attr in BANNED_ATTRIBUTES:
        found.append(text)
    if text in ("yaml.load", "numpy.load", "np.load", "torch.hub.load", "torch.jit.load"):
        found.append(text)
    if text == "torch.load" and keywords.get("weights_only") is not True:
        found.append("torch.load without weights_only=True")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_the_source_runs_what_it_reads(path):
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), set())
    assert [one for one in complaints(path.read_text()) if one not in allowed] == []


BAD_SOURCE = """
import pickle
from importlib import import_module
import hydra.utils as u
u.instantiate(x)
eval("1"); exec("1")
yaml.load(x, yaml.Loader); yaml.unsafe_load(x)
torch.load(x); torch.load(x, weights_only=False); torch.load(x, weights_only=flag)
np.load(x, allow_pickle=True); np.load(x)
tar.extractall(); os.system("x")
"""


def test_the_search_finds_what_it_looks_for():
    for line in BAD_SOURCE.strip().splitlines():
        for statement in line.split("; "):
            assert complaints(statement), statement
    assert (
        complaints("# eval(x)\n'exec(x)'\nmodel.eval()\nyaml.safe_load(x)\ntorch.compile(x)") == []
    )
    assert complaints("from eval.solve import solve\ntorch.load(x, weights_only=True)") == []

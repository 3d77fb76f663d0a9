"""Nothing outside ``predfuse.readers`` parses a file."""

from __future__ import annotations

import ast
from pathlib import Path

import predfuse

PARSERS = {
    "yaml": {"load", "safe_load", "load_all", "safe_load_all", "full_load", "unsafe_load", "compose", "parse"},
    "json": {"load", "loads"},
    "np": {"load", "loadtxt", "genfromtxt", "fromfile"},
    "Image": {"open"},
    "gzip": {"open", "decompress"},
    "tarfile": {"open"},
    "zipfile": {"ZipFile"},
    "torch": {"load"},
    "pickle": {"load", "loads"},
}
OWN = {  # what the program wrote itself a moment ago, not what a user gives
    "tensor_file.py": {"json.loads"},  # that facts survive being written
    "training/checkpoint.py": {"json.loads"},  # tuples as the lists they are stored as
    "report/page.py": {"json.loads"},  # a figure of this page
    "rtl/simulator.py": {"np.fromfile"},  # what its own simulation wrote
    "explore/cluster.py": {"pickle.loads"},  # over Dask's own connection
}


def test_only_the_readers_parse() -> None:
    root = Path(predfuse.__file__).parent
    wrong = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.startswith("readers/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                call = f"{node.value.id}.{node.attr}"
                if node.attr in PARSERS.get(node.value.id, ()) and call not in OWN.get(name, ()):
                    wrong.append(f"{name}:{node.lineno}: {call}")
    assert not wrong, "\n".join(wrong)

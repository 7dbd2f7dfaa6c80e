"""Fills fuzz/corpus/ from tests/fixtures/. Needs Python alone."""

import json
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent
FIXTURES = ROOT.parent / "tests/fixtures"


def put(target, name, content):
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


for path in FIXTURES.iterdir():
    if path.suffix not in (".pt", ".npz"):
        continue
    content = path.read_bytes()
    if not zipfile.is_zipfile(path):
        put("legacy", path.name, content[15:])
        continue
    put("archive", path.name, content)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("/data.pkl"):
                scripted = any(other.endswith("/constants.pkl") for other in archive.namelist())
                put("torchscript" if scripted else "pytorch", path.name, archive.read(name))
            if name.endswith(".npy"):
                put("npz", f"{path.stem}-{name}", archive.read(name))

tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
flags = {"dtype": "BOOL", "shape": [3, 1], "data_offsets": [8, 11]}
header = json.dumps({"__metadata__": {"format": "pt"}, "fc.weight": tensor, "flags": flags}).encode()
put("safetensors", "small", len(header).to_bytes(8, "little") + header + bytes(range(11)))

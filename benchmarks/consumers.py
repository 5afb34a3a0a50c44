"""`make consumers`: our exports, read by `datasets`, TRL, LLaMA-Factory and Axolotl themselves.

They get environments of their own under .consumers/, with pins that fit each other; the checks are
tests/consumers/check.py. Rows are made here; the network is for the packages alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from selfinstruct.exporting.choice import Choice
from selfinstruct.exporting.export import export
from selfinstruct.importing import import_files

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".consumers"
# The CPU's torch first, else one for CUDA comes.
FIRST = ("torch==2.13.0",)
# LLaMA-Factory 0.9.5 wants a TRL (≤ 0.24) that takes the wrong labels from a transformers as new as
# it brings: apply_chat_template gives a mapping there, and TRL takes its length for the prompt's.
PINS = {
    "llama-factory": (
        "llamafactory==0.9.5", "transformers==5.6.0", "datasets==4.0.0", "addict==2.4.0",
        "colorama==0.4.6",
    ),
    "trl": ("trl==1.16.0", "transformers==5.23.0", "datasets==5.2.0"),
}  # fmt: skip
# Its own pins want a GPU; its code for datasets needs no more than addict and colorama.
WITHOUT_DEPENDENCIES = {"llama-factory": ("axolotl==0.19.0",)}
CHECKS = {"llama-factory": ("datasets", "llama-factory", "axolotl"), "trl": ("datasets", "trl")}
# Built for a torch with CUDA, and for pictures and sound alone.
UNUSED = ("torchvision", "torchaudio")
SPLIT = Choice(validation=0.2)


def rows(*, turns: bool) -> list[dict[str, Any]]:
    """60 rows in two languages; with earlier turns and system messages here and there."""
    made: list[dict[str, Any]] = []
    for k in range(40):
        row: dict[str, Any] = {"instruction": f"Name river number {k}.", "output": f"River {k}."}
        row["input"] = f"It is {k} km long." if k % 3 == 0 else ""
        if turns and k % 4 == 0:
            row["history"] = [["Hello.", "Hello! What shall I name?"]] * (1 + k % 3)
        if turns and k % 5 == 0:
            row["system"] = "You name rivers."
        made.append(row)
    for k in range(20):
        made.append(
            {"instruction": f"说出第{k}条河的名字。", "input": "", "output": f"第{k}条河。"}
        )
    return made


def exported(folder: Path) -> dict[str, Any]:
    """Every export that is checked, and how many rows each must have."""
    stated: dict[str, Any] = {"hf": {}, "llama-factory": {}}
    for name in ("plain", "turns"):
        source, run, out = folder / f"{name}.jsonl", folder / f"{name}.run", folder / name
        source.write_text("".join(json.dumps(row) + "\n" for row in rows(turns=name == "turns")))
        manifest = import_files([str(source)], run).manifest
        stated[name] = {lang: counts["kept"] for lang, counts in manifest.languages.items()}
        out.mkdir()
        for layout in ("alpaca", "alpaca-json", "parquet", "messages", "trl"):
            export(run, layout, out)
        hf = export(run, "hf", out / "hf", choice=SPLIT)
        default: Counter[str] = Counter()
        stated["hf"][name] = {}
        for file in hf.files:
            default[file.split] += file.rows
            stated["hf"][name].setdefault(file.lang, {})[file.split] = file.rows
        stated["hf"][name]["default"] = dict(default)
        factory = export(run, "llama-factory", out / "llama-factory", choice=SPLIT)
        export(run, "axolotl", out / "axolotl", choice=SPLIT)
        stated["llama-factory"][name] = {}
        for file in factory.files:
            stated["llama-factory"][name].setdefault(file.lang, {})[file.split] = file.rows
    (folder / "stated.json").write_text(json.dumps(stated))
    return stated


def environment(name: str) -> Path:
    """The Python of a venv that has these pins; made once."""
    home = HOME / name
    python, done = home / "bin" / "python", home / ".done"
    wanted = " ".join((*FIRST, *PINS[name]))
    if done.exists() and done.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *FIRST], check=True)
    subprocess.run([*pip, "install", *FIRST, *PINS[name]], check=True)
    if alone := WITHOUT_DEPENDENCIES.get(name):
        subprocess.run([*pip, "install", "--no-deps", *alone], check=True)
    subprocess.run([*pip, "uninstall", "-y", *UNUSED], check=True)
    done.write_text(wanted)
    return python


def main() -> None:
    began = time.monotonic()
    folder = HOME / "data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    exported(folder)
    settings = {"HF_HUB_OFFLINE": "1", "HOME": str(folder), "LANG": "C.UTF-8", "PATH": os.defpath}
    settings |= {"LLAMAFACTORY_VERBOSITY": "ERROR", "TQDM_DISABLE": "1"}
    for name in PINS:
        cache = {"HF_HOME": str(folder / f"cache-{name}")}
        check = [environment(name), "-W", "ignore", ROOT / "tests" / "consumers" / "check.py"]
        command = [str(part) for part in (*check, folder, *CHECKS[name])]
        if code := subprocess.run(command, env={**settings, **cache}, check=False).returncode:
            raise SystemExit(code)
    print(f"all read, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

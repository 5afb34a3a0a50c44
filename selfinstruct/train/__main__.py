"""`python -m selfinstruct.train …` is `selfinstruct train …`: what launchers of several processes
(`accelerate launch -m`, torchrun) can start."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    runpy.run_module("selfinstruct", run_name="__main__", alter_sys=True)

"""`make image`: an image of one's own, with Python and the pack. Deploys need none; some clusters take no other."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bridge.ship.zipapp import ROOT, build

CONTAINERFILE: Final = "Containerfile"
PACK: Final = "bridge.pyz"
BUILDERS: Final = ("podman", "docker")
"""The first that is there builds."""
_FAILED: Final = 1


def context(directory: Path) -> None:
    """Write what an image is built from: the Containerfile, and the pack that deploys ship."""
    shutil.copyfile(ROOT / CONTAINERFILE, directory / CONTAINERFILE)
    (directory / PACK).write_bytes(build())


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: built; 1: not, for the reason in one line."""
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("--tag", required=True, help="name of the image, REGISTRY/NAME:TAG")
    parser.add_argument("--python", help="another image with Python 3.11 or newer to build on")
    args = parser.parse_args(argv)
    builder = next((found for name in BUILDERS if (found := shutil.which(name))), None)
    if builder is None:
        print(
            f"neither {' nor '.join(BUILDERS)} is on this machine: install one, or run this where there is one",
            file=sys.stderr,
        )
        return _FAILED
    python = ["--build-arg", f"PYTHON={args.python}"] if args.python else []
    with tempfile.TemporaryDirectory() as folder:
        context(Path(folder))
        line = [builder, "build", "--file", f"{folder}/{CONTAINERFILE}", "--tag", args.tag, *python, folder]
        done = subprocess.run(line, check=False, stderr=subprocess.PIPE, text=True, errors="replace")
    sys.stderr.write(done.stderr)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        print(f"{Path(builder).name} built no image: {last}", file=sys.stderr)
        return _FAILED
    digest = f"eks-cilium:bridge: {{image: {args.tag}@sha256:…}}"
    print(f"built {args.tag}. Push it, and give its digest to the stack: {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Execute the README's commands, each `$` line of its console blocks, in a copy of the repository.

python tests/readme_commands.py
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KEPT_OUT = shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", ".*_cache")


def commands(text: str) -> list[str]:
    """The lines after `$` in console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def main() -> int:
    """Run them all; the number that failed."""
    found = commands((ROOT / "README.md").read_text())
    if not found:
        sys.exit("the README holds no commands")
    binaries = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([binaries, os.environ["PATH"]])}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tunefront-") as name:
        copy = Path(name, "repository")
        shutil.copytree(ROOT, copy, ignore=KEPT_OUT)
        for command in found:
            print(f"$ {command}", flush=True)
            done = subprocess.run(shlex.split(command), cwd=copy, env=environment, check=False)
            if done.returncode != 0:
                print(f"exit code {done.returncode}: {command}", file=sys.stderr)
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

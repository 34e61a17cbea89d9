"""Runs every program of a document as it stands there, and compares what it prints with what stands under it.

Arguments: the folder that holds the clients' libraries (`py/`, a virtual environment, and `js/`, with node_modules), and
the documents. The environment holds what the programs read.
"""

import difflib
import pathlib
import re
import subprocess
import sys

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 30


def programs(document):
    """(name, source, what it should print) of each named block, whose output is the `text` block after it."""
    blocks = BLOCK.findall(document)
    for (language, name, source), (following, _, output) in zip(blocks, blocks[1:] + [("", "", "")]):
        if name:
            if following != "text":
                raise SystemExit(f"{name}: no ```text block says what it prints")
            yield name, source, output


def run(name, source, folder):
    """What the program prints, both streams, and whether it succeeded."""
    commands = {
        ".sh": (folder, ["bash", "-euo", "pipefail"]),
        ".py": (folder, [str(folder / "py/bin/python")]),
        ".mjs": (folder / "js", ["node"]),
    }
    where, command = commands[pathlib.Path(name).suffix]
    path = where / name
    path.write_text(source)
    done = subprocess.run(
        [*command, str(path)], cwd=where, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.stdout + done.stderr, done.returncode == 0


def main():
    folder, documents = pathlib.Path(sys.argv[1]).resolve(), [pathlib.Path(path) for path in sys.argv[2:]]
    passed = failed = 0
    for document in documents:
        for name, source, expected in programs(document.read_text()):
            printed, succeeded = run(name, source, folder)
            if succeeded and printed == expected:
                passed += 1
                print(f"test {document.name}::{name} ... ok")
                continue
            failed += 1
            print(f"test {document.name}::{name} ... FAILED")
            difference = difflib.unified_diff(expected.splitlines(), printed.splitlines(), "expected", "printed", "")
            print("\n".join(difference))
    verdict = "FAILED" if failed else "ok"
    print(f"\ntest result: {verdict}. {passed} passed; {failed} failed")
    sys.exit(bool(failed))


main()

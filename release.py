"""Makes a release: `make release VERSION=0.2.0`, on a clean checkout of main after `.ci/run`.

Each step can be repeated: what an earlier try has made is made again, and nothing leaves this machine.

1. CHANGELOG.md: what is under Unreleased gets the version and the date; the version stands in the package.
2. The manual page, which has the version, is written again.
3. The source archive is built, and from it the wheel, twice: both wheels have to be equal.
4. The wheel has all of its files, and installs into a fresh environment, where it feeds the sample.
5. dist/ gets the list of what is installed with it (CycloneDX) and the checksums of all files.
6. One commit and one tag, on this machine.

Source: PEP 440 for versions; reproducible-builds.org, SOURCE_DATE_EPOCH.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path
from typing import Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).resolve().parent
DIST: Final = ROOT / "dist"
PACKAGE: Final = ROOT / "pcapdj/__init__.py"
CHANGELOG: Final = ROOT / "CHANGELOG.md"
UNRELEASED: Final = "## Unreleased\n"
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_STATED: Final = re.compile(r'^(?:__version__|version) = "(.+)"$', re.MULTILINE)
# what the wheel has beside the package's own modules
_REQUIRED: Final = (
    *("pcapdj/supervisord.conf", "pcapdj/capture/loops.c", "pcapdj/capture/_loops.so"),
    *("share/man/man1/pcapdj.1", "share/pcapdj/pcapdj@.service", "share/bash-completion/completions/pcapdj"),
    *("share/zsh/site-functions/_pcapdj", "share/fish/vendor_completions.d/pcapdj.fish"),
    *("entry_points.txt", "licenses/LICENSE"),
)


def refusal(version: str, current: str, changes: str) -> str:
    """Return why there can be no release; empty: there can be one.

    Args:
        version: of the release.
        current: the version that the package has.
        changes: the text of CHANGELOG.md.
    """
    if not _VERSION.fullmatch(version):
        return f"VERSION is {version!r}, not three numbers such as 0.2.0."
    if f"## {version} " in changes:
        return ""  # an earlier try has come this far
    if numbers(version) <= numbers(current):
        return f"{version} is not above the current version, {current}."
    section = changes.partition(UNRELEASED)[2].partition("\n## ")[0]
    return "" if "\n- " in section else "CHANGELOG.md has nothing under Unreleased."


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers."""
    return tuple(int(each) for each in version.split("."))


def dated(changes: str, version: str, date: str) -> str:
    """Return CHANGELOG.md with what is unreleased under this version; unchanged if it has the version."""
    if f"## {version} " in changes:
        return changes
    return changes.replace(UNRELEASED, f"{UNRELEASED}\n## {version} - {date}\n", 1)


def versioned(text: str, version: str) -> str:
    """Return a file's text with another version; the line is `version = ".."` or `__version__ = ".."`."""
    return _STATED.sub(lambda found: found[0].replace(found[1], version), text, count=1)


def _run(*command: str | Path, folder: Path = ROOT, **variables: str) -> str:
    """Run a command, show it, and return what it prints; the release ends if it fails."""
    print("+", *(str(each) for each in command), flush=True)
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"release: {command[0]} ended with {done.returncode}. Nothing was published.")
    return done.stdout


def _built(target: str, source: Path, into: Path) -> Path:
    """Build one target and return its file; the same source gives the same bytes."""
    epoch = _run("git", "log", "-1", "--format=%ct").strip()
    _run(
        *(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", into),
        folder=source,
        SOURCE_DATE_EPOCH=epoch,
    )
    (found,) = into.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return found


def _build(scratch: Path) -> tuple[Path, Path]:
    """Build the source archive, and the wheel from it; return both."""
    archive = _built("sdist", ROOT, scratch / "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(scratch / "source", filter="data")
    (source,) = (scratch / "source").iterdir()
    wheel, second = (_built("wheel", source, scratch / name) for name in ("wheel", "second"))
    if wheel.read_bytes() != second.read_bytes():
        sys.exit("release: Two builds of the wheel differ.")
    return archive, wheel


def _check_files(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    own = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.parent.rglob("*.py")
        if "__pycache__" not in path.parts
    }
    missing = [
        *(each for each in _REQUIRED if not any(name.endswith(each) for name in names)),
        *sorted(own - set(names)),
    ]
    if missing:
        sys.exit(f"release: The wheel has no {', '.join(missing)}.")


def _check_installed(wheel: Path, version: str, scratch: Path) -> None:
    """Install the wheel into a fresh environment, and feed the sample with it."""
    venv.create(scratch / "venv", with_pip=True)
    programs = scratch / "venv/bin"
    pip = (programs / "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--require-hashes", "-r", ROOT / "requirements/run.txt")
    _run(*pip, "--no-deps", wheel)
    shown = _run(programs / "pcapdj", "--version", folder=scratch)
    if shown.strip() != f"pcapdj {version}, compiled loops":
        sys.exit(f"release: The installed command shows {shown.strip()!r}.")
    _run(programs / "pcapdj", "sample", "captures", folder=scratch)
    expected = ("--expect", "captures/expected.sha256", "--logdir", "output")
    _run(programs / "pcapdj", "run", "captures", "--preset", "summary", *expected, folder=scratch)


def _publish_here(files: list[Path]) -> None:
    """Fill dist/ with the files, the list of what is installed, and the checksums."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    _run("make", "--silent", "sbom")
    for each in (*files, ROOT / "build/sbom.json"):
        shutil.copy(each, DIST)
    sums = [
        f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in sorted(DIST.iterdir())
    ]
    (DIST / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")


def main(version: str) -> None:
    """Make the release."""
    current = _STATED.findall(PACKAGE.read_text())[0]
    changes = CHANGELOG.read_text()
    if reason := refusal(version, current, changes):
        sys.exit(f"release: {reason}")
    if _run("git", "status", "--porcelain").strip() and current != version:
        sys.exit("release: The checkout has changes that are not committed.")
    CHANGELOG.write_text(dated(changes, version, time.strftime("%Y-%m-%d")))
    for path in (PACKAGE, ROOT / "pyproject.toml"):
        path.write_text(versioned(path.read_text(), version))
    _run("make", "--silent", "share")
    with tempfile.TemporaryDirectory() as folder:
        archive, wheel = _build(Path(folder))
        _check_files(wheel)
        _check_installed(wheel, version, Path(folder))
        _publish_here([archive, wheel])
    if _run("git", "status", "--porcelain").strip():
        _run("git", "commit", "-qam", f"Release {version}")
    _run("git", "tag", "-f", f"v{version}")
    print(f"dist/ has {version}. Publish it with: git push --follow-tags, and an upload of dist/.")


if __name__ == "__main__":
    main(sys.argv[1])

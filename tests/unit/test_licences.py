"""What pcapdj installs: licences that are allowed, versions and hashes that are pinned."""

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

from support.rows import each_row

ROOT: Final = Path(__file__).resolve().parents[2]
PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Licences under which a program may be installed beside a program of any other licence.
ALLOWED: Final = {
    *("MIT", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "ISC License", "PSF-2.0", "MPL-2.0"),
    *("Apache-2.0", "Apache-2.0 OR BSD-2-Clause", "Apache-2.0 AND BSD-2-Clause", "MIT License"),
    "BSD-derived (http://www.repoze.org/LICENSE.txt)",
    *(
        f"OSI Approved :: {each}"
        for each in (
            *("MIT License", "BSD License", "ISC License (ISCL)", "Apache Software License"),
            *("Mozilla Public License 2.0 (MPL 2.0)", "Python Software Foundation License"),
        )
    ),
}


def pinned(name: str) -> dict[str, str]:
    """Return the packages of a file of requirements, with their versions."""
    return dict(PINNED.findall((ROOT / "requirements" / name).read_text()))


def is_installed(package: str) -> bool:
    """Report whether the package is here: some are for another Python or platform."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def licences_of(package: str) -> list[str]:
    """Return what a package's metadata has about its licence, the most exact form of it."""
    found = metadata.metadata(package)
    if expressions := found.get_all("License-Expression"):
        return expressions
    classifiers = found.get_all("Classifier") or []
    if named := [each.removeprefix("License :: ") for each in classifiers if each.startswith("License :: ")]:
        return named
    return [(text or "").strip().partition("\n")[0] for text in found.get_all("License") or [""]]


@each_row("package", sorted(filter(is_installed, pinned("run.txt"))))
def test_the_licence_of_each_package_is_allowed(package: str) -> None:
    """A new dependency, or a new licence of one, is a decision and no accident."""
    assert set(licences_of(package)) <= ALLOWED


def test_each_pinned_package_has_a_hash() -> None:
    """Pip refuses a package without one, and one with another."""
    for path in (ROOT / "requirements").glob("*.txt"):
        requirements = path.read_text().replace("\\\n", " ").splitlines()
        assert [line for line in requirements if "==" in line and "--hash=sha256:" not in line] == []


def test_the_build_requirement_is_pinned_to_the_hashed_version() -> None:
    """Pip installs it by itself, without the hashes of requirements/; so at least its version is the same."""
    assert PROJECT["build-system"]["requires"] == [f"hatchling=={pinned('run.txt')['hatchling']}"]


def test_every_dependency_is_pinned() -> None:
    """What the package needs at run time is in the file that is installed with hashes."""
    needed = {re.split(r"[><=;\[ ]", each)[0].lower() for each in PROJECT["project"]["dependencies"]}

    assert needed <= {name.replace("backports-zstd", "backports.zstd") for name in pinned("run.txt")}

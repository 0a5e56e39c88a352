"""The compiled loops: when the library is used, and when it is not."""

import shutil
from pathlib import Path

import pytest
from support.loops import loops

from pcapdj.capture.compiled import LIBRARY, SOURCE, VARIABLE, Form, load, loaded, loops_for
from pcapdj.runtime.errors import ConfigError, Unavailable

LARGE_WINDOW = bytes(1 << 20)


@pytest.fixture
def fresh() -> None:
    """Forget which form was chosen before."""
    loaded.cache_clear()


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, Path]:
    """Return copies of the source and its library."""
    with loops("compiled"):
        return Path(shutil.copy(SOURCE, tmp_path)), Path(shutil.copy(LIBRARY, tmp_path))


def test_a_library_of_this_source_is_used(built: tuple[Path, Path]) -> None:
    """It carries the digest of the source beside it."""
    form, found = load(*built)

    assert form is Form.COMPILED
    assert found is not None


def test_a_library_of_another_source_is_not_used(built: tuple[Path, Path]) -> None:
    """After an update of a checkout the library is the old one until it is built again."""
    source, library = built
    source.write_bytes(source.read_bytes() + b"\n")

    assert load(source, library) == (Form.STALE, None)


def test_without_a_library_the_python_form_works(tmp_path: Path) -> None:
    """No compiler, no library, no fault."""
    assert load(SOURCE, tmp_path / "_loops.so") == (Form.NOT_BUILT, None)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no library"])
def test_a_file_that_is_not_a_library_is_not_used(tmp_path: Path, content: bytes) -> None:
    """Cut off, empty, or something else."""
    library = tmp_path / "_loops.so"
    library.write_bytes(content)

    assert load(SOURCE, library) == (Form.UNUSABLE, None)


def test_the_variable_forces_the_python_form() -> None:
    """For comparisons, and for whoever does not trust the library."""
    with loops("python"):
        assert loaded() == (Form.CHOSEN, None)
        assert loops_for(LARGE_WINDOW) is None


def test_the_compiled_form_can_be_demanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who measures it gets an error instead of the other form."""
    monkeypatch.setattr("pcapdj.capture.compiled.LIBRARY", tmp_path / "_loops.so")
    monkeypatch.setenv(VARIABLE, "compiled")
    loaded.cache_clear()

    with pytest.raises(Unavailable, match=r"PCAPDJ_LOOPS=compiled, but .*no compiled library"):
        loaded()

    loaded.cache_clear()


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error does not choose a form silently, for a small capture neither."""
    monkeypatch.setenv(VARIABLE, "Python")
    loaded.cache_clear()

    with pytest.raises(ConfigError, match=r"PCAPDJ_LOOPS: 'Python' is neither python nor compiled\."):
        loops_for(b"a few bytes")


@pytest.mark.usefixtures("fresh")
def test_small_captures_do_not_load_the_library() -> None:
    """`pcapdj cat` of a small file starts as soon as before."""
    assert loops_for(b"a few bytes") is None
    assert loaded.cache_info().currsize == 0

    loops_for(LARGE_WINDOW)

    assert loaded.cache_info().currsize == 1

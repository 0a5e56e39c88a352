"""The record of a running role's settings: each with its text and where it comes from."""

import json
import os
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from pcapdj.runtime import log
from pcapdj.runtime.assignments import Assignment
from pcapdj.runtime.command import lines_of, new_app
from pcapdj.runtime.settings_file import SettingsFile
from pcapdj.runtime.settings_record import (
    SettingInForce,
    SettingSource,
    SettingsRecord,
    read_record,
    record_of,
)

app = new_app()
RECORD = SettingsRecord("role", (SettingInForce("size", "PCAPDJ_SIZE", "7", SettingSource.FILE, 3),))


@app.command()
def role(
    watch: Annotated[list[str], typer.Option("--watch", default_factory=lines_of("PCAPDJ_WATCH"))],
    size: Annotated[int, typer.Option("-s", "--size", envvar="PCAPDJ_SIZE")] = 5,
    force: Annotated[bool, typer.Option("--force", envvar="PCAPDJ_FORCE")] = False,  # noqa: FBT002
    lane: Annotated[str, typer.Option("--lane", envvar="PCAPDJ_LANE")] = "",
    url: Annotated[str, typer.Option("--url", envvar="PCAPDJ_URL")] = "",
) -> None:
    """Do nothing."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a service's folder, the current one."""
    (tmp_path / "supervisord.conf").touch(0o644)
    (tmp_path / "var" / "run").mkdir(parents=True, mode=0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_setting_has_its_text_and_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """As typed, except where something else is to be shown, such as a URL without its password."""
    variables = {"PCAPDJ_WATCH": "/a\n/b=5%", "PCAPDJ_SIZE": "07", "PCAPDJ_LANE": "x", "PCAPDJ_URL": "secret"}
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    lines = [Assignment("PCAPDJ_SIZE", "07", 3), Assignment("PCAPDJ_LANE", "z", 4)]
    file = SettingsFile(lines={each.name: each for each in lines})
    with get_command(app).make_context("role", ["--lane", "y"], obj=file) as context:
        record = record_of("role", context, ["PCAPDJ_LOOPS"], url="shown")

    assert record.settings == (
        SettingInForce("watch", "PCAPDJ_WATCH", "/a\n/b=5%", SettingSource.ENVIRONMENT),
        SettingInForce("size", "PCAPDJ_SIZE", "07", SettingSource.FILE, 3),
        SettingInForce("force", "PCAPDJ_FORCE", "", SettingSource.DEFAULT),
        SettingInForce("lane", "PCAPDJ_LANE", "y", SettingSource.FLAG, 4),
        SettingInForce("url", "PCAPDJ_URL", "shown", SettingSource.ENVIRONMENT),
        SettingInForce("", "PCAPDJ_LOOPS", "", SettingSource.DEFAULT),
    )


def test_a_written_record_is_read_while_its_process_runs(folder: Path) -> None:
    """After the end of the process, or with its pid given to another one, there is none."""
    RECORD.write()

    found = read_record(folder, "role")
    path = folder / "var" / "run" / "role.settings"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "start_ticks": fields["start_ticks"] + 1}))

    assert found is not None
    assert (found.settings, found.pid) == (RECORD.settings, os.getpid())
    assert read_record(folder, "role") is None


def test_a_line_that_a_flag_overrides_is_logged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who wrote it into the file would wait for its effect."""
    setting = SettingInForce("lane", "PCAPDJ_LANE", "y", SettingSource.FLAG, 4)
    SettingsRecord("role", (setting, *RECORD.settings)).write()
    log.flush()

    (logged,) = capsys.readouterr().err.splitlines()
    assert "WARNING role setting_overridden variable=PCAPDJ_LANE" in logged
    assert logged.endswith("Line 4 of pcapdj.env is not used: the command line has that option.")
    assert read_record(folder, "role") is not None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": [1]}', '{"settings": [{"source": "x"}]}', "\xff"]
)
def test_a_record_of_another_form_is_none(text: str, folder: Path) -> None:
    """Another version wrote it, or a disk was full."""
    (folder / "var" / "run" / "role.settings").write_text(text)

    assert read_record(folder, "role") is None


@pytest.mark.parametrize("name", ["role", "pid", "start_ticks", "name", "variable", "text", "source", "line"])
@pytest.mark.parametrize("value", [None, 1e300, [], {"a": 1}, "x"])
def test_a_field_of_another_type_is_in_no_setting(folder: Path, name: str, value: object) -> None:
    """Another program can write the record; what shows it needs no check of its own."""
    RECORD.write()
    path = folder / "var" / "run" / "role.settings"
    fields = json.loads(path.read_text())
    [setting] = fields["settings"]
    changed = {**fields, "settings": [{**setting, name: value}] if name in setting else [setting]}
    path.write_text(json.dumps(changed | ({name: value} if name in fields else {})))

    found = read_record(folder, "role")

    if found is not None:
        [read] = found.settings
        assert found.role == "role"
        assert [type(each) for each in (read.name, read.variable, read.text, read.line)] == [
            str,
            str,
            str,
            int,
        ]


def test_a_role_goes_on_where_the_record_cannot_be_written(folder: Path) -> None:
    """No folder, no service: nothing is written, and nothing fails."""
    (folder / "var" / "run").rmdir()
    RECORD.write()
    (folder / "supervisord.conf").unlink()
    RECORD.write()

    assert [path.name for path in folder.rglob("*")] == ["var"]

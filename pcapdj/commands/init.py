"""`pcapdj init`: creates a folder for the service, ready for supervisord."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from pcapdj.analyzer.options import PRESET_VARIABLE, PresetOrDefault, TrustGroup, default_preset
from pcapdj.analyzer.presets import FALLBACK_PRESET, PRESETS
from pcapdj.capture.roots import VARIABLE as ROOTS_VARIABLE
from pcapdj.capture.roots import absolute_roots, joined_roots
from pcapdj.commands.settings import settings_text
from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.environment import program_path
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted, shell_path
from pcapdj.runtime.settings_file import NAME as SETTINGS
from pcapdj.service import CONF, INBOX, configuration, write_layout

app = new_app()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="created if missing; one for each sensor", metavar="DIR")],
    *,
    preset: PresetOrDefault = "",
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", help="feed only captures below this folder; may be given several times"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help=f"replace an existing {CONF}")] = False,
    trust_group: TrustGroup = False,  # noqa: ARG001 - it works by its callback
) -> None:
    """Create DIR with supervisord.conf, pcapdj.env (settings), inbox (for captures), out (results), var."""
    chosen = preset or default_preset()
    if chosen not in PRESETS:
        raise ConfigError(f"Unknown preset {quoted(chosen)}.", hint=f"Known presets: {', '.join(PRESETS)}.")
    interpreter = Path(sys.executable)
    roots = list(map(os.fsdecode, absolute_roots([folder / INBOX, *root] if root else [])))
    text = configuration(interpreter=interpreter, roots=[Path(each) for each in roots])
    is_chosen = bool(preset)
    values = {PRESET_VARIABLE: chosen}
    if roots:  # for 'pcapdj reclaim'; the roles have them in their command lines
        values[ROOTS_VARIABLE] = joined_roots(roots)
    if not write_layout(folder, text, settings_text(values), force=force):
        change = f": set {PRESET_VARIABLE}={chosen} in it to change the analyzer" if is_chosen else ""
        print_lines(f"The {SETTINGS} that was there is kept{change}.")
        chosen = ""
    print_lines(*_next_steps(folder.absolute(), chosen, interpreter.parent, is_chosen=is_chosen))


def _next_steps(folder: Path, preset: str, programs: Path, *, is_chosen: bool) -> list[str]:
    """Return what the user does next; the commands can be pasted into a shell."""
    own = programs / "pcapdj"
    is_on_path = (found := shutil.which("pcapdj", path=program_path())) and Path(
        found
    ).resolve() == own.resolve()
    pcapdj = "pcapdj" if is_on_path or not own.exists() else shell_path(own)
    why = "" if is_chosen or preset != FALLBACK_PRESET else ", because Suricata is not installed"
    analyzer = f"; its analyzer is the preset {preset}{why}" if preset else ""
    return [
        f"The service in {quoted(str(folder))} is ready{analyzer}. {SETTINGS} has all settings. Next:",
        f"  cd {shell_path(folder)}",
        f"  {pcapdj} up",
        "  mv CAPTURES.. inbox/",
        f"  {pcapdj} status --watch",
    ]

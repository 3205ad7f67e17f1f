# SPDX-License-Identifier: Apache-2.0
"""What dead jobs left in an output."""

import re
import time
from collections import defaultdict
from pathlib import Path

from pipelines.runs.manifest import ASIDE_PREFIX, ID_DIGITS, Run
from pipelines.runs.storage import WORK_DIRECTORY, BeamPath, RunPath, explained, remove_tree
from tf_crossdistil.schema import RUN_PREFIX

ABANDONED_HOURS = 24.0
_RUN = re.compile(rf"{RUN_PREFIX}([0-9a-f]{{{ID_DIGITS}}}(-\d+)?)")


def remove_leftovers(output: RunPath) -> list[str]:
    """Removes runs that did not finish and files on their way to `LATEST`; gives a sentence for each run that it leaves.

    On this machine the output must be locked, so that no such run can belong to a job at work. Elsewhere there are no locks:
    a run is left unless none of its working files changed for 24 hours. The one that a job is about to make is taken over
    in either case (see `Run.begin`), since two jobs of one identity write the same bytes.

    Raises:
        CrossDistilError: something cannot be removed.
    """
    with explained(output):
        return _remove_abandoned(output) if isinstance(output, BeamPath) else _remove_unfinished(output)


def _remove_unfinished(output: Path) -> list[str]:
    for path in list(output.iterdir()):
        if path.name.startswith(ASIDE_PREFIX):
            path.unlink()
        elif (found := _RUN.fullmatch(path.name)) and not Run(output, found[1]).is_complete:
            remove_tree(path)
    return []


def _remove_abandoned(output: BeamPath) -> list[str]:
    changed: defaultdict[str, float] = defaultdict(float)
    for file in output.glob(f"{RUN_PREFIX}*/{WORK_DIRECTORY}/*"):
        name = file.parent.parent.name
        changed[name] = max(changed[name], file.stat().st_mtime)
    left = []
    for name, last in changed.items():
        if (found := _RUN.fullmatch(name)) and not Run(output, found[1]).is_complete:
            hours = (time.time() - last) / 3600
            if hours > ABANDONED_HOURS:
                remove_tree(output / name)
            else:
                left.append(
                    f"{output / name} is unfinished and changed {hours:.1f} hours ago, so another job may be making it; it is "
                    f"removed once nothing changes there for {ABANDONED_HOURS:.0f} hours"
                )
    return left

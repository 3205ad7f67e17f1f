# SPDX-License-Identifier: Apache-2.0
"""How the `crossdistil` command begins and ends: errors in one sentence, Ctrl-C and SIGTERM at any moment."""

import signal
import sys
from types import FrameType
from typing import NoReturn

from tf_crossdistil.cli.ending import end_process, raise_or_end
from tf_crossdistil.errors import CrossDistilError
from tf_crossdistil.training.interruption import INTERRUPTED, TERMINATED, Terminated

# The others write nothing before all is known, or tell themselves what they leave.
_WRITING = ("demo", "export", "generate", "prepare")


def main() -> None:
    """Runs the command line; exit code 0, 1 for a fault, 2 for wrong use, 130 after Ctrl-C, 143 after SIGTERM."""
    usual = signal.signal(signal.SIGINT, _interrupt)
    try:
        # Imported here, so that Ctrl-C while modules load ends like any other.
        from tf_crossdistil.cli.app import app

        app()
    except CrossDistilError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Terminated as end:
        end_process(TERMINATED, end.sentence)
    except KeyboardInterrupt:
        end_process(INTERRUPTED, interrupted(sys.argv))
    except SystemExit as end:
        # What the command line parser makes of a KeyboardInterrupt.
        if end.code == INTERRUPTED:
            end_process(INTERRUPTED, interrupted(sys.argv))
        raise
    finally:
        signal.signal(signal.SIGINT, usual)


def interrupted(arguments: list[str]) -> str:
    """What Ctrl-C leaves of a command, in words; its arguments begin with the program's name."""
    writes = arguments[1:2] and arguments[1] in _WRITING
    return "interrupted; later commands will not use what was unfinished" if writes else "interrupted"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise_or_end(KeyboardInterrupt(), INTERRUPTED, interrupted(sys.argv))


if __name__ == "__main__":
    main()

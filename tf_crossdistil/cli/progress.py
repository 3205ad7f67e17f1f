# SPDX-License-Identifier: Apache-2.0
"""The bar of commands whose work is counted in rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def progress_bar(label: str, rows: int, console: Console) -> Iterator[Callable[[int], None]]:
    """Shows a bar while the block runs; gives the function to call with the number of further rows."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(label, total=rows)
        yield lambda further: progress.advance(bar, further)

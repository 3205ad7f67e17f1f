# SPDX-License-Identifier: Apache-2.0
"""The results as JSON."""

import json
from pathlib import Path
from typing import Any

from serving.load_test.run import Results


def results_document(results: Results) -> dict[str, Any]:
    """The plan and every level, with plain values."""
    plan = results.plan
    return {
        "server": plan.server,
        "model": plan.model,
        "protocol": plan.protocol,
        "rows_per_request": plan.rows,
        "seconds_per_level": plan.seconds,
        "timeout_seconds": plan.timeout,
        "interrupted": results.interrupted,
        "levels": [level.document() for level in results.levels],
    }


def save_json(results: Results, path: Path) -> None:
    """Writes the document."""
    path.write_text(json.dumps(results_document(results), indent=2) + "\n", encoding="utf-8")

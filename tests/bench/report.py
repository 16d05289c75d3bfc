"""Where the benchmarks write what they measured: ``build/bench.json``, one section each."""

import json
from pathlib import Path
from typing import Any

REPORT = Path("build/bench.json")


def save(section: str, data: Any) -> None:
    """Put one section into the report; the others stay."""
    REPORT.parent.mkdir(exist_ok=True)
    sections = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    REPORT.write_text(json.dumps(sections | {section: data}, indent=1) + "\n")

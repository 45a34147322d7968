"""Stores briefs as files."""

import os
import re
from pathlib import Path

from server.app import app

FOLDER = "BRIEFS_FOLDER"
BESIDE = Path(__file__).parents[1] / "briefs"  # whatever folder the server was started in


@app.workflow_task(name="briefs.store")
async def store_brief(run_id: str, question: str, text: str) -> str:
    """Writes a brief to the briefs folder (`$BRIEFS_FOLDER`, else `briefs` beside this package) and returns its path.

    Safe to repeat: the file's name follows from the run, and it is replaced as a whole.
    """
    folder = Path(os.environ.get(FOLDER) or BESIDE)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', run_id)}.md"
    draft = path.with_suffix(".part")
    draft.write_text(f"# {question}\n\n{text}\n", encoding="utf-8")
    draft.replace(path)
    return str(path.resolve())

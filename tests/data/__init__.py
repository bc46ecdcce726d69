"""Files that earlier versions wrote, and how they were made."""

from pathlib import Path

FOLDER = Path(__file__).parent

"""The shipped base model: a language model for tables that has never seen a real one, and how it was made."""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
"""The shipped model in Hugging Face form."""

"""Where tables come from, and what is odd about them."""

from harmonic.datasets.catalogue import configured, known_names, load_dataset
from harmonic.datasets.files import read_csv
from harmonic.datasets.sources import Bundled, File, Folder, as_table

__all__ = ["Bundled", "File", "Folder", "as_table", "configured", "known_names", "load_dataset", "read_csv"]

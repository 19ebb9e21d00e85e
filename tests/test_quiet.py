"""What other packages say. Oracle: what reaches the screen."""

import logging
import warnings

from baselines.quiet import quiet


def test_quiet(capfd, caplog):
    """Oracle: what reaches the screen: errors and stderr alone."""
    with warnings.catch_warnings(record=True) as found, quiet():
        warnings.warn("a warning", stacklevel=1)
        print("a print")
        logging.getLogger("other").warning("a line")
        logging.getLogger("other").error("an error")
    logging.getLogger("other").warning("after")
    assert not found
    assert capfd.readouterr().out == ""
    assert caplog.messages == ["an error", "after"]

"""Privacy as attacks: what somebody who holds the synthetic table, or the generator, can tell of train's rows."""

"""Reading logs: every format as blocks of columns."""

"""Which rooms share an OS process; the only place where rooms meet."""

"""The command line: the arguments and the output of every verb; the work is done in the other packages."""

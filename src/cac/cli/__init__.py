"""The command `cac`: arguments, tables and exit codes of every verb. The only package that knows the console."""

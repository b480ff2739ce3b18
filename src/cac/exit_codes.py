"""Exit codes of all commands; docs/reference/commands.md says what they mean."""

EXIT_MISTAKE = 2
EXIT_REFUSED = 3
EXIT_ATTENTION = 4
EXIT_INTERRUPTED = 130

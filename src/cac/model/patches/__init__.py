"""Replacements of single functions in TRL, PEFT and Transformers, one module a library function.

Each module says what it replaces, the version it was written for, its effect, and when it can be removed.
`tests/model/patches/test_patched_functions.py` fails as soon as a library changes a replaced function.
"""

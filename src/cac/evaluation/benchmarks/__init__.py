"""Others' benchmarks: reading their questions, judging their videos, and measuring in their terms."""

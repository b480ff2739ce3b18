"""The vision-language model: the nano base, loading, adapters, and two-turn inference."""

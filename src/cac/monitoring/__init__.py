"""Watching the champion in production: are recent clips, and what it says of them, unlike those it was measured on?"""

"""Scenes: what lies where, and how it looks."""

"""Scenes: what lies where, how it looks, and how COCO annotates it."""

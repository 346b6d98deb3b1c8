"""Data sets: the embedded one of synthetic scenes, in COCO's layout."""

"""What is measured beyond COCO's numbers."""

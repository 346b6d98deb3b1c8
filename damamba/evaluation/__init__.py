"""What DAMamba adds to MMDetection's evaluation."""

"""Video files and their frames: decoding, encoding, frame sampling, drawing and motion."""

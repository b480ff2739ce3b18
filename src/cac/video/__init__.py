"""Video files in and out: decode, encode, choose frames, resize them to views, draw on them, measure motion."""

"""Defects made in the pixels of ordinary videos: annotated pairs of a clean clip and a defective one."""

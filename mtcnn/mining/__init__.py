"""Crops of one unit of images: proposals, IoU labels, crops; seeded and free of Ray."""

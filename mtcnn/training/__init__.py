"""Losses, loop and held-out metrics of one stage; plain PyTorch, with or without a process group."""
